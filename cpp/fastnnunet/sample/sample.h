// One sample on its way through the transforms: image and segmentation, the memory that they live in, and, until a
// transform asks for voxels, only the promise of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/array.h"
#include "fastnnunet/sample/companion.h"
#include "fastnnunet/sample/geometry.h"
#include "fastnnunet/sample/memory/destination.h"
#include "fastnnunet/sample/memory/workspace.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/sample/target.h"

namespace fastnnunet::sample {

class Sample {
 public:
  explicit Sample(Workspace& workspace) : workspace_(workspace) {}
  Sample(const Sample&) = delete;
  Sample& operator=(const Sample&) = delete;

  // Starts a new sample. Sources and destination must outlive it; `destination` may be null.
  void begin(Source<float>& image, Source<std::int16_t>* segmentation, int dims, const Destination* destination);
  // Of everything that others own, when the sample is done with. Its room for lists is kept for the next one.
  void let_go();

  Geometry geometry() const;
  int dims() const { return dims_; }
  bool has_segmentation() const { return has_segmentation_; }

  // The voxels, read from the source on the first call.
  Array<float>& image();
  Array<std::int16_t>& segmentation();

  // Not null as long as nobody has asked for voxels: a transform that needs a part of them reads that part itself.
  Source<float>* pending_image() const { return pending_image_; }
  Source<std::int16_t>* pending_segmentation() const { return pending_segmentation_; }

  // Memory for a new image or segmentation beside the present one; set_... makes it the present one. It is the batch
  // buffer's where the size is that of the finished sample, so that most samples are never copied.
  Array<float> new_image(std::int64_t channels, const Index3& shape);
  Array<std::int16_t> new_segmentation(std::int64_t channels, const Index3& shape);
  void set_image(const Array<float>& image);
  // Room for more channels behind the present ones, whose voxels are kept.
  void extend_image(std::int64_t channels);
  void set_segmentation(const Array<std::int16_t>& segmentation);

  // What transforms in Python have added; null where they have added nothing.
  Companion* companion() const { return companion_.get(); }
  void accompany(std::shared_ptr<Companion> companion) { companion_ = std::move(companion); }
  // What a transform in Python may change, too: how many axes count, and the planes of a folded sample. `planes` is 0
  // for one that is not folded any more.
  void set_form(int dims, std::int64_t planes);

  // Keeps memory of the present image, segmentation or targets as it is for as long as it is held.
  std::shared_ptr<void> lease(const void* data) const;

  // nnU-Net's pseudo-2D: planes along X count as channels.
  void fold_planes();
  void unfold_planes();
  bool folded() const { return planes_ > 0; }
  std::int64_t planes() const { return planes_; }

  // Targets beyond the segmentation itself; `number` counts from 0. set_targets replaces the segmentation in the
  // result.
  Target new_target(std::size_t number, TargetType type, std::int64_t channels, const Index3& shape);
  void set_targets(std::span<const Target> targets) {
    targets_.assign(targets.begin(), targets.end());
    target_is_list_ = true;
  }
  const std::vector<Target>& targets() const { return targets_; }
  bool target_is_list() const { return target_is_list_; }
  // Regions as bool channels in place of the labels.
  Target new_regions(std::int64_t channels, const Index3& shape);
  void set_regions(const Target& regions) { regions_ = regions; }
  // Memory for regions that does not overlap the present ones.
  Target other_regions(std::int64_t channels, const Index3& shape);
  const Target* regions() const { return regions_.data != nullptr ? &regions_ : nullptr; }

  // The regression target, which went its way as a sample of its own; without data where there is none.
  void set_regression(const Array<float>& target) { regression_ = target; }
  const Array<float>& regression() const { return regression_; }

  // A regression target that is still on its way: a sample of its own in other memory, whose image it is. Transforms in
  // Python see it as they see the image. Null where nobody has to; it must outlive this sample's run.
  void set_follower(Sample* target) { follower_ = target; }
  Sample* follower() const { return follower_; }

  // Makes sure that everything is where the destination wants it, and gives image and targets. Where nobody wants them,
  // labels that a companion holds stay with it.
  void finish(bool targets_wanted = true);

  Workspace& workspace() { return workspace_; }

  // Spent on reading files so far.
  std::chrono::nanoseconds reading_time() const {
    return (image_source_ != nullptr ? image_source_->reading_time() : std::chrono::nanoseconds{}) +
           (segmentation_source_ != nullptr ? segmentation_source_->reading_time() : std::chrono::nanoseconds{});
  }

 private:
  void* target_memory(std::size_t number, std::size_t bytes);

  Workspace& workspace_;
  const Destination* destination_ = nullptr;
  const Source<float>* image_source_ = nullptr;
  const Source<std::int16_t>* segmentation_source_ = nullptr;
  Source<float>* pending_image_ = nullptr;
  Source<std::int16_t>* pending_segmentation_ = nullptr;
  bool has_segmentation_ = false;
  int dims_ = 3;
  Array<float> image_;
  Array<std::int16_t> segmentation_;
  Array<float> regression_;
  Sample* follower_ = nullptr;
  std::int64_t planes_ = 0;  // folded into the channels
  std::vector<Target> targets_;
  bool target_is_list_ = false;
  Target regions_;
  std::shared_ptr<Companion> companion_;
};

}  // namespace fastnnunet::sample
