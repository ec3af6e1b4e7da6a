// GammaTransform: raises the channel, scaled to [0, 1], to a power; optionally on the negated image and with mean and
// standard deviation put back afterwards.
#include <algorithm>
#include <cmath>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/base/vector_math.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

namespace fastnnunet {
namespace {

constexpr float kEpsilon = 1e-7f;  // bgv2's guard for constant channels

FASTNNUNET_CLONES
void negate(float* FASTNNUNET_RESTRICT values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = -values[i];
}

FASTNNUNET_CLONES
void raise(float* FASTNNUNET_RESTRICT values, std::int64_t count, float minimum, float range, float denominator,
           float exponent) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float scaled = (values[i] - minimum) / denominator;
    values[i] = math::power(scaled, exponent) * range + minimum;
  }
}

FASTNNUNET_CLONES
void linear(float* FASTNNUNET_RESTRICT values, std::int64_t count, float old_mean, float factor, float new_mean) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = (values[i] - old_mean) * factor + new_mean;
}

struct GammaParameters : Parameters {
  std::vector<std::int64_t> channels;
  std::vector<std::int64_t> retain_stats;  // 0 or 1 for each of these
  std::vector<std::int64_t> invert_image;
  std::vector<double> gamma;
};

class Gamma final : public TransformOf<GammaParameters> {
 public:
  explicit Gamma(const Record& attributes)
      : gamma_(attributes.scalar("gamma")),
        p_invert_image_(attributes.probability("p_invert_image")),
        synchronize_(attributes.boolean("synchronize_channels")),
        probability_(attributes.probability("p_per_channel")),
        p_retain_stats_(attributes.probability("p_retain_stats")) {}

  std::string_view name() const override { return "GammaTransform"; }

 protected:
  void draw(Stream& stream, const Geometry& geometry, GammaParameters& p) const override {
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

  void apply(Sample& sample, const GammaParameters& p, const Stream&) const override {
    Array<float>& image = sample.image();
    const std::int64_t count = image.channel_size();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      const auto values = image.channel_span(p.channels[i]);
      if (p.invert_image[i]) negate(values.data(), count);
      double old_mean = 0, old_deviation = 0;
      if (p.retain_stats[i]) {
        old_mean = mean(values);
        old_deviation = standard_deviation(values, old_mean);
      }
      const Extent found = extent(values);
      const float range = found.maximum - found.minimum;
      raise(values.data(), count, found.minimum, range, range < kEpsilon ? kEpsilon : range,
            static_cast<float>(p.gamma[i]));
      if (p.retain_stats[i]) {
        const double new_mean = mean(values);
        const double deviation = standard_deviation(values, new_mean);
        const double factor = old_deviation / (deviation < double{kEpsilon} ? double{kEpsilon} : deviation);
        linear(values.data(), count, static_cast<float>(new_mean), static_cast<float>(factor),
               static_cast<float>(old_mean));
      }
      if (p.invert_image[i]) negate(values.data(), count);
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
    p.retain_stats = record.integers("retain_stats");
    p.invert_image = record.integers("invert_image");
    p.gamma = record.numbers("gamma");
  }

 private:
  Scalar gamma_;
  double p_invert_image_;
  bool synchronize_;
  double probability_;
  double p_retain_stats_;
};

}  // namespace

std::unique_ptr<Transform> make_gamma(const Record& attributes) { return std::make_unique<Gamma>(attributes); }

}  // namespace fastnnunet
