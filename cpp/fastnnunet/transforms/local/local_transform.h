// What the local transforms share: a Gaussian at a random place says how much of a change each voxel gets. It is the
// product of one profile for each axis, minus its minimum, over its maximum: from 0 to 1 over the image.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

namespace fastnnunet::transforms {

struct LocalParameters : Parameters {
  std::vector<std::int64_t> channels;  // the chosen ones
  std::vector<double> values;          // how much of the change, for each of these
  std::size_t kernels = 0;             // one for each chosen channel, or one for all of them
  std::vector<double> locations;       // (kernels, dims), of the centre as a share of the image's size
  std::vector<double> scales;          // (kernels, dims), standard deviations in voxels
  std::vector<float> profiles;         // (kernels, X + Y + Z), what follows from these for the image's shape
  // (kernels, X, Y, Z): kernels that a replay gave voxel by voxel, as bgv2 returns them, in place of the above.
  std::vector<float> ready;
  double sigma = 0;  // in voxels; of LocalSmoothingTransform alone
  // Room for the work, kept from sample to sample.
  mutable std::vector<float> taps;
  mutable std::vector<double> sums;
  mutable Extent clip{};
};

// One kernel, a row along Z at a time.
class LocalKernel {
 public:
  LocalKernel(const LocalParameters& p, std::size_t number, const Index3& shape);

  // The same everywhere, too far away to be seen: all weights are 0.
  bool flat() const { return flat_; }
  // Weights of the voxels (x, y, ...); they hold until the thread's next call.
  const float* row(std::int64_t x, std::int64_t y) const;
  // body(x, y, weights) for every row, the rows of a plane in their order, planes on all threads that have time.
  template <typename Body>
  void each_row(const sample::Workspace& workspace, const Body& body) const {
    workspace.share(shape_[0], [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t x = begin; x < end; ++x)
        for (std::int64_t y = 0; y < shape_[1]; ++y) body(x, y, row(x, y));
    });
  }
  // The sum of all weights.
  double total() const;

 private:
  Index3 shape_;
  const float* profiles_ = nullptr;
  const float* ready_ = nullptr;
  float minimum_ = 0;
  float divisor_ = 1;
  bool flat_ = false;
};

class LocalTransform : public ImageTransformOf<LocalParameters> {
 public:
  std::size_t room_bytes(const Geometry& geometry) const override;

 protected:
  // `value` is the attribute that the values are drawn from, `values` their name in a record.
  LocalTransform(const Record& attributes, const char* value, const char* values);

  void draw(random::Stream& stream, const Geometry& geometry, LocalParameters& p) const override;
  bool acts(const LocalParameters& p) const override { return !p.channels.empty(); }
  void apply(sample::Sample& sample, const LocalParameters& p, const Work& work) const override;
  Record describe(const LocalParameters& p) const override;
  void restore(const Record& record, const Geometry& geometry, LocalParameters& p) const override;

  // Whether a channel that was drawn with these is left out.
  virtual bool leaves_out(const LocalKernel&, double) const { return false; }
  // Whether a replay with ready kernels has values beside them.
  virtual bool ready_kernels_need_values() const { return true; }
  virtual void apply_to_channel(sample::Sample& sample, std::int64_t channel, const LocalKernel& kernel, double value,
                                const LocalParameters& p) const = 0;

 private:
  Scalar scale_;
  Scalar location_;
  Scalar value_;
  const char* values_;
  bool same_for_all_channels_;
  double probability_;
};

// Neither NaN nor infinite, all of them.
bool all_finite(std::span<const float> values);

}  // namespace fastnnunet::transforms
