// RemoveLabelTransform: one label of the segmentation becomes another.
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/no_parameters.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/utils/remove_label.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void replace(std::int16_t* HWY_RESTRICT labels, std::int64_t count, std::int16_t label, std::int16_t by) {
  for (std::int64_t i = 0; i < count; ++i) labels[i] = labels[i] == label ? by : labels[i];
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(replace);

class RemoveLabel final : public FixedTransform {
 public:
  explicit RemoveLabel(const Record& attributes)
      : label_(attributes.label("label_value")),
        by_(attributes.label("set_to")),
        all_(!attributes.has("segmentation_channels")) {
    if (!all_) channels_ = attributes.integers("segmentation_channels");
  }

  std::string_view name() const override { return "RemoveLabelTransform"; }
  Traits traits() const override { return {.image = Traits::kUntouched, .labels = {.indifferent_to_moves = true}}; }

 protected:
  void apply(sample::Sample& sample) const override {
    if (!sample.has_segmentation()) return;
    sample::Array<std::int16_t>& labels = sample.segmentation();
    if (all_) {
      replace(labels.data, labels.size(), label_, by_);
      return;
    }
    for (const std::int64_t given : channels_) {
      const auto channel = resolve_channel("RemoveLabelTransform", "segmentation_channels", given, labels.channels);
      replace(labels.channel(channel), labels.channel_size(), label_, by_);
    }
  }

 private:
  std::int16_t label_;
  std::int16_t by_;
  bool all_;
  std::vector<std::int64_t> channels_;
};

}  // namespace

std::unique_ptr<Transform> make_remove_label(const Record& attributes) {
  return std::make_unique<RemoveLabel>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
