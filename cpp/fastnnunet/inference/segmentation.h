// From a network's logits to the segmentation of the image, in one pass: what nnU-Net's
// convert_predicted_logits_to_segmentation_with_correct_shape does with arrays of all classes, one after another.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/resampling/axis.h"

namespace fastnnunet::inference {

enum class LogitType { float32, float16 };

// (C, X, Y, Z); voxels of a row are neighbours, what is around them may be anything.
struct Logits {
  const void* data = nullptr;
  LogitType type = LogitType::float32;
  std::int64_t channels = 0;
  Index3 shape{};
  std::int64_t channel_stride = 0;  // strides in values
  std::int64_t x_stride = 0;
  std::int64_t y_stride = 0;
};

struct SegmentationOptions {
  Index3 new_shape{};    // that the logits are resized to, linearly
  int separate = -1;     // the axis of thick slices, along which the nearest slice is taken
  Index3 image_shape{};  // of the result
  Index3 offset{};       // where in it the resized logits lie
  // The label of each channel where channels are regions, in nnU-Net's regions_class_order: a later one overwrites.
  // Empty where they are classes, the labels then being the channels' numbers.
  std::vector<std::int64_t> regions;
  int threads = 1;
};

// (C, X, Y, Z) of the image's shape, strides in values.
struct Probabilities {
  float* data = nullptr;
  std::int64_t strides[4] = {};
};

// Decides slab by slab, so that the logits of the whole image need not exist at once: planes come in order along one
// axis, and a plane of the result is decided when the planes that it lies between are there.
//
// `out`, (X, Y, Z) of the image's shape and zero before, gets the labels of the resized logits. Voxels where all
// neighbours of the logits' own grid have the same winner are not interpolated: it wins between them, too. Extra memory
// is some planes for each thread, whatever the number of channels. `probabilities`, unless null, gets the softmax of
// the resized logits (of regions the sigmoid) and, outside of them, background.
template <typename Label>
class SegmentationStream {
 public:
  // shape: of all logits together; along: the axis of the planes, 0 to 2. `out` and what `probabilities` points at are
  // written to by add() and stay the caller's. Throws InvalidArgument.
  SegmentationStream(std::int64_t channels, const Index3& shape, int along, SegmentationOptions options, Label* out,
                     const Probabilities* probabilities);

  // The planes from `first` on; those that are needed must be among them. Decides what can be decided. Throws
  // InvalidArgument.
  void add(const Logits& logits, std::int64_t first);

  // The first plane that is needed for what is not decided yet; the number of planes when nothing is left.
  std::int64_t needed() const;
  bool complete() const { return decided_ == options_.new_shape[along_]; }

 private:
  template <typename T>
  void decide(const Logits& logits, std::int64_t first, std::int64_t end);

  const std::int64_t channels_;
  const Index3 shape_;
  const int along_;
  const SegmentationOptions options_;
  const resampling::LinearAxes axes_;
  Label* const out_;
  std::optional<Probabilities> probabilities_;
  std::vector<Label> labels_;  // of each winner
  std::int64_t decided_ = 0;   // planes of the result
};

// All at once.
template <typename Label>
void segmentation_from_logits(const Logits& logits, const SegmentationOptions& options, Label* out,
                              const Probabilities* probabilities);

}  // namespace fastnnunet::inference
