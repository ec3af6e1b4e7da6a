// MoveChannelsTransform: channels of the image become channels of the segmentation, or the other way round, behind
// those that are there. An image's channel must then hold labels; bgv2 turns the segmentation into float32 instead.
#include <algorithm>
#include <cstring>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/no_parameters.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/utils/move_channels.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

template <typename T>
HWY_INLINE void to_float(const T* HWY_RESTRICT from, float* HWY_RESTRICT out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(from[i]);
}

void convert_labels(const std::int16_t* from, float* out, std::int64_t count) { to_float(from, out, count); }
void convert_regions(const std::uint8_t* from, float* out, std::int64_t count) { to_float(from, out, count); }

// False where a value is not a whole number of 16 bits.
bool to_labels(const float* HWY_RESTRICT from, std::int16_t* HWY_RESTRICT out, std::int64_t count) {
  int wrong = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    // NaN fails both comparisons and becomes 0, which it is not equal to.
    const float value = from[i] >= -32768.0f && from[i] <= 32767.0f ? from[i] : 0.0f;
    const auto whole = static_cast<std::int32_t>(value);
    wrong |= static_cast<float>(whole) != from[i];
    out[i] = static_cast<std::int16_t>(whole);
  }
  return wrong == 0;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(convert_labels);
FASTNNUNET_DISPATCH(convert_regions);
FASTNNUNET_DISPATCH(to_labels);

constexpr const char* kName = "MoveChannelsTransform";

void convert(const std::int16_t* from, float* out, std::int64_t count) { convert_labels(from, out, count); }
void convert(const std::uint8_t* from, float* out, std::int64_t count) { convert_regions(from, out, count); }

// Closes the gaps that the moved channels (in ascending order) leave.
template <typename T>
void remove_channels(T* data, std::int64_t channels, std::int64_t size, const std::vector<std::int64_t>& moved) {
  std::int64_t kept = 0;
  for (std::int64_t c = 0; c < channels; ++c) {
    if (std::binary_search(moved.begin(), moved.end(), c)) continue;
    if (kept != c) std::memcpy(data + kept * size, data + c * size, static_cast<std::size_t>(size) * sizeof(T));
    ++kept;
  }
}

class MoveChannels final : public FixedTransform {
 public:
  explicit MoveChannels(const Record& attributes)
      : ids_(attributes.integers("channel_ids")),
        from_image_(is_image(attributes, "source_key")),
        to_image_(is_image(attributes, "target_key")) {}

  std::string_view name() const override { return kName; }
  Traits traits() const override {
    Traits traits{.takes_regions = true};
    if (from_image_ != to_image_) (to_image_ ? traits.image : traits.labels).room = Traits::Room::behind;
    return traits;
  }

  Geometry after(const Geometry& geometry) const override {
    if (geometry.planes > 0)
      throw InvalidArgument(kName, "a sample that Convert3DTo2DTransform has not made 2D", "one that it has");
    if (geometry.segmentation_channels == 0 && !(from_image_ && to_image_))
      throw InvalidArgument(kName, "a sample with a segmentation", "one without");
    const auto moved = std::ssize(resolved(source_channels(geometry)));
    Geometry changed = geometry;
    if (from_image_)
      changed.image_channels -= moved;
    else
      changed.segmentation_channels -= moved;
    // Source and target of one name: bgv2 loses what it moves.
    if (from_image_ == to_image_) return changed;
    if (to_image_)
      changed.image_channels += moved;
    else
      changed.segmentation_channels += moved;
    return changed;
  }

 protected:
  bool acts(const NoParameters&) const override { return !ids_.empty(); }

  void apply(sample::Sample& sample) const override {
    if (!sample.targets().empty()) throw InvalidArgument(kName, "one segmentation", "those of deep supervision");
    Geometry geometry = sample.geometry();
    if (sample.regions() != nullptr) geometry.segmentation_channels = sample.regions()->channels;
    after(geometry);
    sample::Array<float>& image = sample.image();
    const std::int64_t size = image.channel_size();
    if (from_image_) {
      const auto moved = resolved(image.channels);
      if (!to_image_) move_to_segmentation(sample, moved);
      remove_channels(image.data, image.channels, size, moved);
      image.channels -= std::ssize(moved);
    } else if (const sample::Target* found = sample.regions()) {
      sample::Target regions = *found;
      auto* data = static_cast<std::uint8_t*>(regions.data);
      const auto moved = resolved(regions.channels);
      if (to_image_) move_to_image(sample, data, moved);
      remove_channels(data, regions.channels, size, moved);
      regions.channels -= std::ssize(moved);
      sample.set_regions(regions);
    } else {
      sample::Array<std::int16_t>& labels = sample.segmentation();
      const auto moved = resolved(labels.channels);
      if (to_image_) move_to_image(sample, labels.data, moved);
      remove_channels(labels.data, labels.channels, size, moved);
      labels.channels -= std::ssize(moved);
    }
  }

 private:
  static bool is_image(const Record& attributes, const char* name) {
    const std::string& key = attributes.text(name);
    if (key != "image" && key != "segmentation")
      throw InvalidArgument(kName, std::string("'") + name + "' image or segmentation", key);
    return key == "image";
  }

  std::int64_t source_channels(const Geometry& geometry) const {
    return from_image_ ? geometry.image_channels : geometry.segmentation_channels;
  }

  // In ascending order, whatever that of the attribute; each once.
  std::vector<std::int64_t> resolved(std::int64_t channels) const {
    std::vector<std::int64_t> ids;
    ids.reserve(ids_.size());
    for (const std::int64_t id : ids_) ids.push_back(resolve_channel(kName, "channel_ids", id, channels));
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    if (std::ssize(ids) == channels && channels > 0)
      throw InvalidArgument(kName, "'channel_ids' that leave a channel where they come from", "all");
    return ids;
  }

  template <typename T>
  static void move_to_image(sample::Sample& sample, const T* from, const std::vector<std::int64_t>& moved) {
    const std::int64_t first = sample.image().channels;
    sample.extend_image(first + std::ssize(moved));
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < moved.size(); ++i)
      convert(from + moved[i] * image.channel_size(), image.channel(first + static_cast<std::int64_t>(i)),
              image.channel_size());
  }

  static void move_to_segmentation(sample::Sample& sample, const std::vector<std::int64_t>& moved) {
    if (sample.regions() != nullptr) throw InvalidArgument(kName, "a segmentation of labels", "one that is of regions");
    const sample::Array<float>& image = sample.image();
    const sample::Array<std::int16_t> labels = sample.segmentation();
    const sample::Array<std::int16_t> extended =
        sample.new_segmentation(labels.channels + std::ssize(moved), labels.shape);
    std::memcpy(extended.data, labels.data, static_cast<std::size_t>(labels.size()) * sizeof(std::int16_t));
    for (std::size_t i = 0; i < moved.size(); ++i)
      if (!to_labels(image.channel(moved[i]), extended.channel(labels.channels + static_cast<std::int64_t>(i)),
                     image.channel_size()))
        throw InvalidArgument(kName, "whole numbers of 16 bits in a channel that becomes segmentation",
                              "others in channel " + std::to_string(moved[i]));
    sample.set_segmentation(extended);
  }

  std::vector<std::int64_t> ids_;
  bool from_image_;
  bool to_image_;
};

}  // namespace

std::unique_ptr<Transform> make_move_channels(const Record& attributes) {
  return std::make_unique<MoveChannels>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
