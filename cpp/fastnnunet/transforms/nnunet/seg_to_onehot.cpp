// MoveSegAsOneHotToDataTransform: the previous stage's segmentation becomes image channels, one for each label.
#include <cstring>

#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/no_parameters.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/nnunet/seg_to_onehot.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void indicator(const std::int16_t* HWY_RESTRICT labels, float* HWY_RESTRICT out, std::int64_t count,
               std::int16_t label) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = labels[i] == label ? 1.0f : 0.0f;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(indicator);

class MoveSegAsOneHotToData final : public FixedTransform {
 public:
  explicit MoveSegAsOneHotToData(const Record& attributes)
      : source_(attributes.integer("source_channel_idx")),
        labels_(attributes.labels("all_labels")),
        // bgv2 does not find a channel that is counted from the end among those to remove.
        remove_(attributes.boolean("remove_channel_from_source") && source_ >= 0) {}

  std::string_view name() const override { return "MoveSegAsOneHotToDataTransform"; }

  Geometry after(const Geometry& geometry) const override {
    Geometry changed = geometry;
    changed.image_channels += std::ssize(labels_);
    if (remove_) changed.segmentation_channels -= 1;
    return changed;
  }

  Traits traits() const override { return {.image = {.room = Traits::Room::behind}}; }

 protected:
  void apply(sample::Sample& sample) const override {
    sample::Array<std::int16_t>& labels = sample.segmentation();
    const auto source =
        resolve_channel("MoveSegAsOneHotToDataTransform", "source_channel_idx", source_, labels.channels);
    const std::int64_t first = sample.image().channels;
    sample.extend_image(first + std::ssize(labels_));
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < labels_.size(); ++i)
      indicator(labels.channel(source), image.channel(first + static_cast<std::int64_t>(i)), image.channel_size(),
                labels_[i]);
    if (!remove_) return;
    const std::int64_t behind = labels.channels - source - 1;
    std::memmove(labels.channel(source), labels.channel(source + 1),
                 static_cast<std::size_t>(behind * labels.channel_size()) * sizeof(std::int16_t));
    labels.channels -= 1;
  }

 private:
  std::int64_t source_;
  std::vector<std::int16_t> labels_;
  bool remove_;
};

}  // namespace

std::unique_ptr<Transform> make_move_seg_as_one_hot_to_data(const Record& attributes) {
  return std::make_unique<MoveSegAsOneHotToData>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
