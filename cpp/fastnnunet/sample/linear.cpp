#include "fastnnunet/sample/linear.h"

#include <cstddef>

#define HWY_TARGET_INCLUDE "fastnnunet/sample/linear.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::sample::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::map_values;

void apply(float* HWY_RESTRICT values, std::size_t count, Linear arithmetic) {
  map_values(values, static_cast<std::int64_t>(count), [&](auto d, auto value) HWY_ATTR {
    return hn::Add(hn::Mul(value, hn::Set(d, arithmetic.factor)), hn::Set(d, arithmetic.shift));
  });
}

}  // namespace
}  // namespace fastnnunet::sample::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::sample {
namespace {

FASTNNUNET_DISPATCH(apply);

}  // namespace

void settle(const Linear& arithmetic, std::span<float> values) {
  if (arithmetic.changes()) apply(values.data(), values.size(), arithmetic);
}

}  // namespace fastnnunet::sample
#endif  // HWY_ONCE
