// DownsampleSegForDSTransform: the segmentation (or the regions) at every scale of deep supervision, nearest-exact.
#include "fastnnunet/transforms/utils/deep_supervision_downsampling.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/nearest_exact.h"

namespace fastnnunet::transforms {
namespace {

template <typename T>
void gather(const T* from, const Index3& shape, T* out, const Index3& small, std::int64_t channels,
            const std::vector<std::int64_t> (&positions)[3]) {
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t x = 0; x < small[0]; ++x)
      for (std::int64_t y = 0; y < small[1]; ++y) {
        const T* row = from + ((c * shape[0] + positions[0][static_cast<std::size_t>(x)]) * shape[1] +
                               positions[1][static_cast<std::size_t>(y)]) *
                                  shape[2];
        for (std::int64_t z = 0; z < small[2]; ++z) *out++ = row[positions[2][static_cast<std::size_t>(z)]];
      }
}

// Nothing is drawn. Room for the work, kept from sample to sample.
struct DownsampleParameters : Parameters {
  mutable std::vector<sample::Target> targets;
  mutable std::vector<std::int64_t> positions[3];
};

class DownsampleSegForDS final : public TransformOf<DownsampleParameters> {
 public:
  explicit DownsampleSegForDS(const Record& attributes) : scales_(attributes.rows("ds_scales")) {}

  std::string_view name() const override { return "DownsampleSegForDSTransform"; }

  Traits traits() const override {
    return {.image = Traits::kUntouched,
            .labels = {.access = Traits::Access::reads},
            .takes_regions = true,
            .target_scales = &scales_};
  }

 protected:
  void draw(random::Stream&, const Geometry&, DownsampleParameters&) const override {}
  Record describe(const DownsampleParameters&) const override { return Record{std::string(name())}; }
  void restore(const Record&, const Geometry&, DownsampleParameters&) const override {}

  void apply(sample::Sample& sample, const DownsampleParameters& p, const Work&) const override {
    if (!sample.has_segmentation()) return;
    sample::Target full;
    if (const sample::Target* regions = sample.regions()) {
      full = *regions;
    } else {
      const sample::Array<std::int16_t>& labels = sample.segmentation();
      full = {TargetType::int16, labels.data, labels.channels, labels.shape};
    }
    p.targets.clear();
    for (std::size_t i = 0; i < scales_.size(); ++i) {
      const Index3 small = downsampled_shape(full.shape, sample.dims(), scales_[i]);
      if (is_full_scale(scales_[i])) {
        p.targets.push_back(full);
        continue;
      }
      const sample::Target target = sample.new_target(i, full.type, full.channels, small);
      for (int axis = 0; axis < 3; ++axis) nearest_exact_positions(full.shape[axis], small[axis], p.positions[axis]);
      if (full.type == TargetType::int16)
        gather(static_cast<const std::int16_t*>(full.data), full.shape, static_cast<std::int16_t*>(target.data), small,
               full.channels, p.positions);
      else
        gather(static_cast<const std::uint8_t*>(full.data), full.shape, static_cast<std::uint8_t*>(target.data), small,
               full.channels, p.positions);
      p.targets.push_back(target);
    }
    sample.set_targets(p.targets);
  }

 private:
  Record::Rows scales_;  // one factor, or one for each axis
};

}  // namespace

bool is_full_scale(const Record::Numbers& scale) {
  return std::all_of(scale.begin(), scale.end(), [](double factor) { return factor == 1.0; });
}

Index3 downsampled_shape(const Index3& shape, int dims, const Record::Numbers& scale) {
  if (scale.size() != 1 && std::ssize(scale) != dims)
    throw InvalidArgument("DownsampleSegForDSTransform", "a factor for each of " + std::to_string(dims) + " axes",
                          std::to_string(scale.size()));
  Index3 small = shape;
  for (int axis = 3 - dims; axis < 3; ++axis) {
    const double factor = scale.size() == 1 ? scale[0] : scale[static_cast<std::size_t>(axis - (3 - dims))];
    small[axis] = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(shape[axis]) * factor));
    if (small[axis] < 1)
      throw InvalidArgument("DownsampleSegForDSTransform",
                            "scales that leave at least one of " + std::to_string(shape[axis]) + " voxels",
                            std::to_string(factor));
  }
  return small;
}

std::unique_ptr<Transform> make_downsample_seg_for_ds(const Record& attributes) {
  return std::make_unique<DownsampleSegForDS>(attributes);
}

}  // namespace fastnnunet::transforms
