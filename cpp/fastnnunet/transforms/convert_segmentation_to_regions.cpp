// ConvertSegmentationToRegionsTransform: one bool channel for each region, a set of labels.
#include <algorithm>
#include <string>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/no_parameters.h"

namespace fastnnunet {
namespace {

FASTNNUNET_CLONES
void add_label(const std::int16_t* FASTNNUNET_RESTRICT labels, std::uint8_t* FASTNNUNET_RESTRICT region,
               std::int64_t count, std::int16_t label, bool first) {
  if (first) {
    for (std::int64_t i = 0; i < count; ++i) region[i] = labels[i] == label;
  } else {
    for (std::int64_t i = 0; i < count; ++i) region[i] |= labels[i] == label;
  }
}

class ConvertSegmentationToRegions final : public FixedTransform {
 public:
  explicit ConvertSegmentationToRegions(const Record& attributes) : channel_(attributes.integer("channel_in_seg")) {
    for (const auto& row : attributes.rows("regions")) regions_.emplace_back(row.begin(), row.end());
  }

  std::string_view name() const override { return "ConvertSegmentationToRegionsTransform"; }

  Geometry after(const Geometry& geometry) const override {
    Geometry changed = geometry;
    changed.segmentation_channels = std::ssize(regions_);
    return changed;
  }

 protected:
  void apply(Sample& sample) const override {
    if (!sample.has_segmentation()) return;
    const Array<std::int16_t>& labels = sample.segmentation();
    if (channel_ < 0 || channel_ >= labels.channels)
      throw InvalidArgument("ConvertSegmentationToRegionsTransform",
                            "'channel_in_seg' below " + std::to_string(labels.channels), std::to_string(channel_));
    const Target regions = sample.new_regions(std::ssize(regions_), labels.shape);
    auto* data = static_cast<std::uint8_t*>(regions.data);
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      std::uint8_t* region = data + static_cast<std::int64_t>(i) * labels.channel_size();
      if (regions_[i].empty()) std::fill(region, region + labels.channel_size(), std::uint8_t{0});
      for (std::size_t l = 0; l < regions_[i].size(); ++l)
        add_label(labels.channel(channel_), region, labels.channel_size(), static_cast<std::int16_t>(regions_[i][l]),
                  l == 0);
    }
    sample.set_regions(regions);
  }

 private:
  std::int64_t channel_;
  std::vector<std::vector<std::int64_t>> regions_;
};

}  // namespace

std::unique_ptr<Transform> make_convert_segmentation_to_regions(const Record& attributes) {
  return std::make_unique<ConvertSegmentationToRegions>(attributes);
}

}  // namespace fastnnunet
