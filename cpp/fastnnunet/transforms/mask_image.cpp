// MaskImageTransform: sets the image where the segmentation is below 0, nnU-Net's label for "outside of the nonzero
// region".
#include <string>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/no_parameters.h"

namespace fastnnunet {
namespace {

FASTNNUNET_CLONES
void mask(float* FASTNNUNET_RESTRICT image, const std::int16_t* FASTNNUNET_RESTRICT labels, std::int64_t count,
          float value) {
  for (std::int64_t i = 0; i < count; ++i) image[i] = labels[i] < 0 ? value : image[i];
}

class MaskImage final : public FixedTransform {
 public:
  explicit MaskImage(const Record& attributes)
      : channels_(attributes.integers("apply_to_channels")),
        segmentation_channel_(attributes.integer("channel_idx_in_seg")),
        value_(static_cast<float>(attributes.number("set_outside_to"))) {}

  std::string_view name() const override { return "MaskImageTransform"; }

 protected:
  void apply(Sample& sample) const override {
    if (channels_.empty()) return;
    Array<float>& image = sample.image();
    const Array<std::int16_t>& labels = sample.segmentation();
    if (segmentation_channel_ < 0 || segmentation_channel_ >= labels.channels)
      throw InvalidArgument("MaskImageTransform", "'channel_idx_in_seg' below " + std::to_string(labels.channels),
                            std::to_string(segmentation_channel_));
    for (const std::int64_t channel : channels_) {
      if (channel < 0 || channel >= image.channels)
        throw InvalidArgument("MaskImageTransform", "'apply_to_channels' below " + std::to_string(image.channels),
                              std::to_string(channel));
      mask(image.channel(channel), labels.channel(segmentation_channel_), image.channel_size(), value_);
    }
  }

 private:
  std::vector<std::int64_t> channels_;
  std::int64_t segmentation_channel_;
  float value_;
};

}  // namespace

std::unique_ptr<Transform> make_mask_image(const Record& attributes) { return std::make_unique<MaskImage>(attributes); }

}  // namespace fastnnunet
