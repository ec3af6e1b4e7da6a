// ConvertSegmentationToRegionsTransform: one bool channel for each region, a set of labels.
#include <algorithm>
#include <cmath>

#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/no_parameters.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/utils/seg_to_regions.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void add_label(const std::int16_t* HWY_RESTRICT labels, std::uint8_t* HWY_RESTRICT region, std::int64_t count,
               std::int16_t label, bool first) {
  if (first) {
    for (std::int64_t i = 0; i < count; ++i) region[i] = labels[i] == label;
  } else {
    for (std::int64_t i = 0; i < count; ++i) region[i] |= labels[i] == label;
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(add_label);

class ConvertSegmentationToRegions final : public FixedTransform {
 public:
  explicit ConvertSegmentationToRegions(const Record& attributes) : channel_(attributes.integer("channel_in_seg")) {
    for (const auto& row : attributes.rows("regions")) {
      std::vector<std::int16_t>& labels = regions_.emplace_back();
      for (const double value : row) {
        // What is no int16 is nowhere in a segmentation.
        if (value == std::floor(value) && value >= -32768.0 && value <= 32767.0)
          labels.push_back(static_cast<std::int16_t>(value));
      }
    }
  }

  std::string_view name() const override { return "ConvertSegmentationToRegionsTransform"; }

  Geometry after(const Geometry& geometry) const override {
    Geometry changed = geometry;
    changed.segmentation_channels = std::ssize(regions_);
    return changed;
  }

  Traits traits() const override { return {.image = Traits::kUntouched, .makes_regions = true}; }

 protected:
  void apply(sample::Sample& sample) const override {
    if (!sample.has_segmentation()) return;
    const sample::Array<std::int16_t>& labels = sample.segmentation();
    const auto channel =
        resolve_channel("ConvertSegmentationToRegionsTransform", "channel_in_seg", channel_, labels.channels);
    const sample::Target regions = sample.new_regions(std::ssize(regions_), labels.shape);
    auto* data = static_cast<std::uint8_t*>(regions.data);
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      std::uint8_t* region = data + static_cast<std::int64_t>(i) * labels.channel_size();
      if (regions_[i].empty()) std::fill(region, region + labels.channel_size(), std::uint8_t{0});
      for (std::size_t l = 0; l < regions_[i].size(); ++l)
        add_label(labels.channel(channel), region, labels.channel_size(), regions_[i][l], l == 0);
    }
    sample.set_regions(regions);
  }

 private:
  std::int64_t channel_;
  std::vector<std::vector<std::int16_t>> regions_;
};

}  // namespace

std::unique_ptr<Transform> make_convert_segmentation_to_regions(const Record& attributes) {
  return std::make_unique<ConvertSegmentationToRegions>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
