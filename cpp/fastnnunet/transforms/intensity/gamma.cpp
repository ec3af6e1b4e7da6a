// GammaTransform: raises the channel, scaled to [0, 1], to a power; optionally on the negated image and with mean and
// standard deviation put back afterwards.
#include <algorithm>
#include <cmath>
#include <span>

#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/intensity/gamma.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_math.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace math = simd::HWY_NAMESPACE::math;
using simd::HWY_NAMESPACE::each_vector;

// sign * v, or v itself, through the curve; `sign_out` gives back what `sign_in` took.
void raise(float* HWY_RESTRICT values, std::size_t count, float sign_in, float minimum, float range, float inverse,
           float exponent, float sign_out) {
  constexpr std::size_t kTile = 256;
  alignas(64) float scaled[kTile], logarithms[kTile];
  for (std::size_t begin = 0; begin < count; begin += kTile) {
    float* HWY_RESTRICT tile = values + begin;
    const auto size = static_cast<std::int64_t>(std::min(kTile, count - begin));
    each_vector<float>(size, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto value = hn::Mul(hn::Set(d, sign_in), hn::LoadU(d, tile + i));
      const auto share = hn::Mul(hn::Sub(value, hn::Set(d, minimum)), hn::Set(d, inverse));
      hn::StoreU(share, d, scaled + i);
      hn::StoreU(math::log2_of_power(d, share, hn::Set(d, exponent)), d, logarithms + i);
    });
    each_vector<float>(size, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto raised = math::power_of_log2(d, hn::LoadU(d, scaled + i), hn::LoadU(d, logarithms + i));
      const auto value = hn::Add(hn::Mul(raised, hn::Set(d, range)), hn::Set(d, minimum));
      hn::StoreU(hn::Mul(hn::Set(d, sign_out), value), d, tile + i);
    });
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(raise);

constexpr float kEpsilon = 1e-7f;  // bgv2's guard for constant channels

// The same for exponents that are not above 0, where zero does not stay zero. Nobody trains with them.
void raise_zero(std::span<float> values, float sign_in, float minimum, float range, float inverse, float exponent,
                float sign_out) {
  for (float& value : values)
    value = sign_out * (std::pow((sign_in * value - minimum) * inverse, exponent) * range + minimum);
}

struct GammaParameters : Parameters {
  std::vector<std::int64_t> channels;
  std::vector<std::int64_t> retain_stats;  // 0 or 1 for each of these
  std::vector<std::int64_t> invert_image;
  std::vector<double> gamma;
};

class Gamma final : public ImageTransformOf<GammaParameters> {
 public:
  explicit Gamma(const Record& attributes)
      : gamma_(attributes.scalar("gamma")),
        p_invert_image_(attributes.probability("p_invert_image")),
        synchronize_(attributes.boolean("synchronize_channels")),
        probability_(attributes.probability("p_per_channel")),
        p_retain_stats_(attributes.probability("p_retain_stats")) {}

  std::string_view name() const override { return "GammaTransform"; }
  Traits traits() const override {
    return {.labels = Traits::kUntouched, .takes_arithmetic = true, .leaves_arithmetic = true};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, GammaParameters& p) const override {
    draw_channels(stream, geometry.image_channels, probability_, p.channels);
    p.retain_stats.clear();
    p.invert_image.clear();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      p.retain_stats.push_back(stream.bernoulli(p_retain_stats_));
      p.invert_image.push_back(stream.bernoulli(p_invert_image_));
    }
    draw_values(stream, geometry, gamma_, synchronize_, p.channels, p.gamma);
  }

  bool acts(const GammaParameters& p) const override { return !p.channels.empty(); }

  std::span<const std::int64_t> channels(const GammaParameters& p) const override { return p.channels; }

  void apply(sample::Sample& sample, const GammaParameters& p, const Work& work) const override {
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      const std::int64_t channel = p.channels[i];
      const sample::Linear left =
          apply_to(sample.workspace(), image.channel_span(channel), work.take(channel), p.retain_stats[i] != 0,
                   p.invert_image[i] != 0, static_cast<float>(p.gamma[i]));
      work.leave(sample, channel, left);
    }
  }

  Record describe(const GammaParameters& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("retain_stats", to_numbers(p.retain_stats));
    record.set("invert_image", to_numbers(p.invert_image));
    record.set("gamma", p.gamma);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, GammaParameters& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.retain_stats = restore_chosen_flags(record, "retain_stats", p.channels);
    p.invert_image = restore_chosen_flags(record, "invert_image", p.channels);
    p.gamma = restore_chosen(record, "gamma", p.channels);
  }

 private:
  // Two passes: statistics; the curve, with the new statistics of what it has just written. Inversion is a sign in
  // their arithmetic. Returns what is left to do, which puts back the old statistics.
  static sample::Linear apply_to(const sample::Workspace& workspace, std::span<float> values, sample::Linear due,
                                 bool retain_stats, bool invert, float gamma) {
    const Moments before = Moments::of(workspace, values).after(due);
    const float sign = invert ? -1.0f : 1.0f;
    const Extent found = before.extent();
    const float minimum = invert ? -found.maximum : found.minimum;
    const float range = found.maximum - found.minimum;
    const float inverse = 1.0f / (range < kEpsilon ? kEpsilon : range);
    const double old_mean = static_cast<double>(sign) * before.mean();
    const auto curve = [&](std::span<float> part, std::size_t = 0) {
      sample::settle(due, part);
      const float sign_out = retain_stats ? 1.0f : sign;
      if (gamma > 0)
        raise(part.data(), part.size(), sign, minimum, range, inverse, gamma, sign_out);
      else
        raise_zero(part, sign, minimum, range, inverse, gamma, sign_out);
    };
    if (!retain_stats) {
      workspace.share_values(values, curve);
      return {};
    }
    Moments after(old_mean);
    after.add_made(workspace, values, curve);
    const double deviation = after.standard_deviation();
    // Of one value, as of an exponent of 0, any deviation is rounding.
    const bool flat = after.extent().minimum == after.extent().maximum;
    const double factor =
        flat ? 0 * before.standard_deviation()
             : before.standard_deviation() / (deviation < double{kEpsilon} ? double{kEpsilon} : deviation);
    // sign * ((value - new mean) * factor + old mean)
    return {static_cast<float>(sign * factor), static_cast<float>(sign * (old_mean - after.mean() * factor))};
  }

  Scalar gamma_;
  double p_invert_image_;
  bool synchronize_;
  double probability_;
  double p_retain_stats_;
};

}  // namespace

std::unique_ptr<Transform> make_gamma(const Record& attributes) { return std::make_unique<Gamma>(attributes); }

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
