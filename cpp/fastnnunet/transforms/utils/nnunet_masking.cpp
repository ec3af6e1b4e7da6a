// MaskImageTransform: sets the image where the segmentation is below 0, nnU-Net's label for "outside of the nonzero
// region".
#include <algorithm>

#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/no_parameters.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/utils/nnunet_masking.cpp"
#include "fastnnunet/base/simd/targets.h"

#if !defined(FASTNNUNET_TRANSFORMS_UTILS_NNUNET_MASKING_TYPES)
#define FASTNNUNET_TRANSFORMS_UTILS_NNUNET_MASKING_TYPES
namespace fastnnunet::transforms {
namespace {

// What a run of labels is: all inside, all outside, or both.
enum class Run { inside, outside, both };

}  // namespace
}  // namespace fastnnunet::transforms
#endif

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

Run run_of(const std::int16_t* HWY_RESTRICT labels, std::int64_t count) {
  std::int16_t any = 0, all = -1;
  for (std::int64_t i = 0; i < count; ++i) {
    any = static_cast<std::int16_t>(any | labels[i]);
    all = static_cast<std::int16_t>(all & labels[i]);
  }
  return any >= 0 ? Run::inside : all < 0 ? Run::outside : Run::both;
}

void mask(float* HWY_RESTRICT image, const std::int16_t* HWY_RESTRICT labels, std::int64_t count, float value) {
  for (std::int64_t i = 0; i < count; ++i) image[i] = labels[i] < 0 ? value : image[i];
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(run_of);
FASTNNUNET_DISPATCH(mask);

constexpr std::int64_t kRun = 256;

class MaskImage final : public FixedTransform {
 public:
  explicit MaskImage(const Record& attributes)
      : channels_(attributes.integers("apply_to_channels")),
        segmentation_channel_(attributes.integer("channel_idx_in_seg")),
        value_(static_cast<float>(attributes.number("set_outside_to"))) {}

  std::string_view name() const override { return "MaskImageTransform"; }
  Traits traits() const override { return {.labels = {.access = Traits::Access::reads}}; }

 protected:
  void apply(sample::Sample& sample) const override {
    if (channels_.empty()) return;
    sample::Array<float>& image = sample.image();
    const sample::Array<std::int16_t>& labels = sample.segmentation();
    const auto by = resolve_channel("MaskImageTransform", "channel_idx_in_seg", segmentation_channel_, labels.channels);
    for (const std::int64_t given : channels_)
      (void)resolve_channel("MaskImageTransform", "apply_to_channels", given, image.channels);
    // Most runs are all inside, and those of the image are not looked at.
    for (std::int64_t begin = 0; begin < image.channel_size(); begin += kRun) {
      const std::int64_t count = std::min(kRun, image.channel_size() - begin);
      const std::int16_t* run = labels.channel(by) + begin;
      const Run kind = run_of(run, count);
      if (kind == Run::inside) continue;
      for (const std::int64_t given : channels_) {
        float* to = image.channel(from_start(given, image.channels)) + begin;
        if (kind == Run::outside)
          std::fill(to, to + count, value_);
        else
          mask(to, run, count, value_);
      }
    }
  }

 private:
  std::vector<std::int64_t> channels_;
  std::int64_t segmentation_channel_;
  float value_;
};

}  // namespace

std::unique_ptr<Transform> make_mask_image(const Record& attributes) { return std::make_unique<MaskImage>(attributes); }

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
