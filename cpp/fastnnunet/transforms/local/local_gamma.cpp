// LocalGammaTransform: raises the channel, scaled to [0, 1], to a power, as much as a local kernel says.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "fastnnunet/transforms/local/local_transform.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/local/local_gamma.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_math.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace math = simd::HWY_NAMESPACE::math;
using simd::HWY_NAMESPACE::each_vector;

// `of_zero` is 0 to the power: 0, 1 or infinite.
void raise_row(float* HWY_RESTRICT values, const float* HWY_RESTRICT weights, std::int64_t count, float minimum,
               float denominator, float exponent, float of_zero) {
  constexpr std::int64_t kTile = 256;
  const float inverse = 1.0f / denominator;
  alignas(64) float scaled[kTile], logarithms[kTile];
  for (std::int64_t begin = 0; begin < count; begin += kTile, values += kTile, weights += kTile) {
    const std::int64_t size = std::min(kTile, count - begin);
    each_vector<float>(size, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto share = hn::Mul(hn::Sub(hn::LoadU(d, values + i), hn::Set(d, minimum)), hn::Set(d, inverse));
      hn::StoreU(share, d, scaled + i);
      hn::StoreU(math::log2_of_power(d, share, hn::Set(d, exponent)), d, logarithms + i);
    });
    each_vector<float>(size, [&](auto d, std::int64_t i) HWY_ATTR {
      const auto share = hn::LoadU(d, scaled + i), weight = hn::LoadU(d, weights + i);
      const auto raised = hn::Add(math::power_of_log2(d, share, hn::LoadU(d, logarithms + i)),
                                  hn::IfThenElseZero(hn::Eq(share, hn::Zero(d)), hn::Set(d, of_zero)));
      const auto mixed = hn::Add(hn::Mul(raised, weight), hn::Mul(hn::Sub(hn::Set(d, 1.0f), weight), share));
      hn::StoreU(hn::Add(hn::Mul(mixed, hn::Set(d, denominator)), hn::Set(d, minimum)), d, values + i);
    });
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(raise_row);

constexpr float kEpsilon = 1e-8f;  // bgv2's guard for constant channels

class LocalGamma final : public LocalTransform {
 public:
  explicit LocalGamma(const Record& attributes) : LocalTransform(attributes, "gamma", "gammas") {}

  std::string_view name() const override { return "LocalGammaTransform"; }

 protected:
  void apply_to_channel(sample::Sample& sample, std::int64_t channel, const LocalKernel& kernel, double gamma,
                        const LocalParameters&) const override {
    sample::Array<float>& image = sample.image();
    const auto all = image.channel_span(channel);
    if (kernel.flat() && all_finite(all)) return;
    const Extent found = extent(all);
    const float range = found.maximum - found.minimum;
    const float of_zero = gamma > 0 ? 0.0f : gamma < 0 ? std::numeric_limits<float>::infinity() : 1.0f;
    const Index3 shape = image.shape;
    kernel.each_row(sample.workspace(), [&](std::int64_t x, std::int64_t y, const float* weights) {
      raise_row(all.data() + (x * shape[1] + y) * shape[2], weights, shape[2], found.minimum,
                range < kEpsilon ? kEpsilon : range, static_cast<float>(gamma), of_zero);
    });
  }
};

}  // namespace

std::unique_ptr<Transform> make_local_gamma(const Record& attributes) {
  return std::make_unique<LocalGamma>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
