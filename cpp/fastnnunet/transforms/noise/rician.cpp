// RicianNoiseTransform: the magnitude of a complex signal with normal noise on both parts, brought back to the image's
// mean and standard deviation. What bgv2 calls variance is used as the noise's standard deviation.
#include <algorithm>
#include <cmath>
#include <span>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/noise/rician.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void subtract(float* HWY_RESTRICT values, std::int64_t count, float minimum) {
  for (std::int64_t i = 0; i < count; ++i) values[i] -= minimum;
}

void magnitude(float* HWY_RESTRICT real, const float* HWY_RESTRICT imaginary, std::int64_t count, float minimum) {
  for (std::int64_t i = 0; i < count; ++i)
    real[i] = std::sqrt(real[i] * real[i] + imaginary[i] * imaginary[i]) + minimum;
}

void normalise(float* HWY_RESTRICT values, std::int64_t count, float old_mean, float old_deviation, float new_mean,
               float new_deviation) {
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = (values[i] - old_mean) / old_deviation * new_deviation + new_mean;
}

// Multiplied, so that what is not finite becomes NaN as in bgv2.
void flatten(float* HWY_RESTRICT values, std::int64_t count, float mean) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = values[i] * 0.0f + mean;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(subtract);
FASTNNUNET_DISPATCH(magnitude);
FASTNNUNET_DISPATCH(normalise);
FASTNNUNET_DISPATCH(flatten);

constexpr const char* kName = "RicianNoiseTransform";
constexpr std::int64_t kBlock = 4096;

// Several steps on a block while it is in the cache.
template <typename Body>
void for_each_block(std::span<float> values, Body&& body) {
  for (std::int64_t begin = 0; begin < std::ssize(values); begin += kBlock) {
    const std::int64_t length = std::min(kBlock, std::ssize(values) - begin);
    body(values.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(length)), begin);
  }
}

struct RicianParameters : Parameters {
  double variance = 0;
};

class RicianNoise final : public ImageTransformOf<RicianParameters> {
 public:
  explicit RicianNoise(const Record& attributes) {
    const Record::Numbers& range = attributes.numbers("noise_variance");
    if (range.size() != 2 || !(range[0] >= 0.0 && range[0] <= range[1] && std::isfinite(range[1])))
      throw InvalidArgument(kName, "'noise_variance' of two numbers, 0 <= low <= high",
                            range.size() == 2 ? std::to_string(range[0]) + " and " + std::to_string(range[1])
                                              : std::to_string(range.size()) + " numbers");
    low_ = range[0];
    high_ = range[1];
  }

  std::string_view name() const override { return kName; }

 protected:
  void draw(random::Stream& stream, const Geometry&, RicianParameters& p) const override {
    p.variance = stream.uniform(low_, high_);
  }

  // The statistics are those of all channels together.
  void apply(sample::Sample& sample, const RicianParameters& p, const Work& work) const override {
    sample::Array<float>& image = sample.image();
    const std::int64_t count = image.size();
    const std::span<float> values{image.data, static_cast<std::size_t>(count)};
    const Moments before = Moments::of(values);
    const double old_mean = before.mean();
    const auto old_deviation = static_cast<float>(before.standard_deviation());
    const float minimum = before.extent().minimum;

    const auto sigma = static_cast<float>(p.variance);
    float imaginary[kBlock];
    Moments after(std::isfinite(old_mean) ? old_mean : 0.0);
    for_each_block(values, [&](std::span<float> block, std::int64_t begin) {
      subtract(block.data(), std::ssize(block), minimum);
      work.field().add_normal(block, static_cast<std::uint64_t>(begin), sigma);
      std::fill_n(imaginary, block.size(), 0.0f);
      work.field().add_normal({imaginary, block.size()}, static_cast<std::uint64_t>(count + begin), sigma);
      magnitude(block.data(), imaginary, std::ssize(block), minimum);
      after.add(block);
    });
    const double new_mean = after.mean();
    const auto new_deviation = static_cast<float>(after.standard_deviation());
    if (new_deviation > 0.0f)
      normalise(image.data, count, static_cast<float>(new_mean), new_deviation, static_cast<float>(old_mean),
                old_deviation);
    else
      flatten(image.data, count, static_cast<float>(old_mean));
  }

  Record describe(const RicianParameters& p) const override {
    Record record{kName};
    record.set("variance", p.variance);
    return record;
  }

  void restore(const Record& record, const Geometry&, RicianParameters& p) const override {
    p.variance = record.number("variance");
    if (!(p.variance >= 0.0)) throw InvalidArgument(kName, "'variance' of at least 0", std::to_string(p.variance));
  }

 private:
  double low_;
  double high_;
};

}  // namespace

std::unique_ptr<Transform> make_rician_noise(const Record& attributes) {
  return std::make_unique<RicianNoise>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
