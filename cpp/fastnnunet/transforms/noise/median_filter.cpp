// MedianFilterTransform: the median of a cube around each voxel (medians.h).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/noise/medians.h"
#include "fastnnunet/transforms/statistics.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "MedianFilterTransform";
constexpr std::int64_t kLargestSize = 100;

struct MedianParameters : Parameters {
  // One of each for each channel of the image.
  std::vector<std::int64_t> apply;
  std::vector<std::int64_t> sizes;
};

class MedianFilter final : public ImageTransformOf<MedianParameters> {
 public:
  explicit MedianFilter(const Record& attributes)
      : p_same_for_each_channel_(attributes.probability("p_same_for_each_channel")),
        probability_(attributes.probability("p_per_channel")) {
    const std::vector<std::int64_t> range = attributes.integers("filter_size");
    if (range.size() != 2 || range[0] > range[1])
      throw InvalidArgument(kName, "'filter_size' of two numbers, the lower one first",
                            std::to_string(range.size()) + " numbers");
    for (const std::int64_t size : range) check_size(size);
    smallest_ = range[0];
    largest_ = range[1];
  }

  std::string_view name() const override { return kName; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    std::int64_t most = 0;
    for (std::int64_t size = smallest_; size <= largest_; ++size)
      most = std::max(most, voxels(MedianTiles(size, geometry.shape, geometry.dims).padded()));
    sample::Workspace::ScratchSizes bytes = median_scratch(most, largest_);
    bytes[0] = static_cast<std::size_t>(PaddedRows::count(geometry.shape, largest_)) * sizeof(float);
    return bytes;
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, MedianParameters& p) const override {
    const auto channels = static_cast<std::size_t>(geometry.image_channels);
    const bool same = stream.bernoulli(p_same_for_each_channel_);
    p.sizes.clear();
    for (std::size_t i = 0; i < channels; ++i)
      p.sizes.push_back(same && i > 0 ? p.sizes[0] : stream.integer(smallest_, largest_));
    draw_flags(stream, geometry.image_channels, probability_, p.apply);
  }

  bool acts(const MedianParameters& p) const override {
    for (std::size_t i = 0; i < p.apply.size(); ++i)
      if (p.apply[i] != 0 && p.sizes[i] > 1) return true;
    return false;
  }

  void apply(sample::Sample& sample, const MedianParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.apply.size(); ++i) {
      if (p.apply[i] == 0 || p.sizes[i] == 1) continue;
      const auto channel = static_cast<std::int64_t>(i);
      const PaddedRows before(image.channel(channel), image.shape, p.sizes[i],
                              sample.workspace().scratch<float>(0, PaddedRows::count(image.shape, p.sizes[i])));
      const bool has_nan = std::isnan(extent(image.channel_span(channel)).minimum);
      filter_median(sample.workspace(), MedianTiles(p.sizes[i], image.shape, sample.dims()), before, has_nan,
                    image.channel(channel));
    }
  }

  Record describe(const MedianParameters& p) const override {
    Record record{kName};
    record.set("apply_channel", to_numbers(p.apply));
    record.set("filter_sizes", to_numbers(p.sizes));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, MedianParameters& p) const override {
    p.apply = restore_flags(record, "apply_channel", geometry);
    restore_per_channel(record, "filter_sizes", geometry);
    p.sizes = record.integers("filter_sizes");
    for (const std::int64_t size : p.sizes) check_size(size);
  }

 private:
  static void check_size(std::int64_t size) {
    if (size < 1 || size > kLargestSize)
      throw InvalidArgument(kName, "a filter size between 1 and " + std::to_string(kLargestSize), std::to_string(size));
  }

  std::int64_t smallest_;
  std::int64_t largest_;
  double p_same_for_each_channel_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_median_filter(const Record& attributes) {
  return std::make_unique<MedianFilter>(attributes);
}

}  // namespace fastnnunet::transforms
