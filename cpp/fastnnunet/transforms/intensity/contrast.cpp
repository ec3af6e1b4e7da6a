// ContrastTransform: scales the difference from the mean; with preserve_range the result is clamped to the old extent.
#include <cmath>

#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/intensity/contrast.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::clamp;
using simd::HWY_NAMESPACE::map_values;

template <typename D, typename V>
HWY_INLINE V stretched(D d, V value, sample::Linear due, float mean, float factor) {
  value = hn::Add(hn::Mul(value, hn::Set(d, due.factor)), hn::Set(d, due.shift));
  const V centre = hn::Set(d, mean);
  return hn::Add(hn::Mul(hn::Sub(value, centre), hn::Set(d, factor)), centre);
}

void stretch(float* HWY_RESTRICT values, std::size_t count, sample::Linear due, float mean, float factor) {
  map_values(values, static_cast<std::int64_t>(count),
             [&](auto d, auto value) HWY_ATTR { return stretched(d, value, due, mean, factor); });
}

void stretch_and_clamp(float* HWY_RESTRICT values, std::size_t count, sample::Linear due, float mean, float factor,
                       float low, float high) {
  map_values(values, static_cast<std::int64_t>(count), [&](auto d, auto value) HWY_ATTR {
    return clamp(stretched(d, value, due, mean, factor), hn::Set(d, low), hn::Set(d, high));
  });
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(stretch);
FASTNNUNET_DISPATCH(stretch_and_clamp);

class Contrast final : public ImageTransformOf<ChannelValues> {
 public:
  explicit Contrast(const Record& attributes)
      : factor_(attributes.scalar("contrast_range")),
        preserve_range_(attributes.boolean("preserve_range")),
        probability_(attributes.probability("p_per_channel")),
        synchronize_(attributes.boolean("synchronize_channels")) {}

  std::string_view name() const override { return "ContrastTransform"; }
  Traits traits() const override { return {.labels = Traits::kUntouched, .takes_arithmetic = true}; }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, ChannelValues& p) const override {
    draw_channels(stream, geometry.image_channels, probability_, p.channels);
    draw_values(stream, geometry, factor_, synchronize_, p.channels, p.values);
  }

  bool acts(const ChannelValues& p) const override { return !p.channels.empty(); }

  std::span<const std::int64_t> channels(const ChannelValues& p) const override { return p.channels; }

  void apply(sample::Sample& sample, const ChannelValues& p, const Work& work) const override {
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      const auto values = image.channel_span(p.channels[i]);
      const sample::Linear due = work.take(p.channels[i]);
      const Moments moments = Moments::of(sample.workspace(), values).after(due);
      const auto centre = static_cast<float>(moments.mean());
      const auto factor = static_cast<float>(p.values[i]);
      const Extent range = moments.extent();
      sample.workspace().share_values(values, [&](std::span<float> part, std::size_t) {
        if (preserve_range_)
          stretch_and_clamp(part.data(), part.size(), due, centre, factor, range.minimum, range.maximum);
        else
          stretch(part.data(), part.size(), due, centre, factor);
      });
    }
  }

  Record describe(const ChannelValues& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("multipliers", p.values);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, ChannelValues& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.values = restore_chosen(record, "multipliers", p.channels);
  }

 private:
  Scalar factor_;
  bool preserve_range_;
  double probability_;
  bool synchronize_;
};

}  // namespace

std::unique_ptr<Transform> make_contrast(const Record& attributes) { return std::make_unique<Contrast>(attributes); }

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
