#include "fastnnunet/sample/linear.h"

#include <cstddef>

#define HWY_TARGET_INCLUDE "fastnnunet/sample/linear.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::HWY_NAMESPACE {
namespace {

void apply(float* HWY_RESTRICT values, std::size_t count, Linear arithmetic) {
  for (std::size_t i = 0; i < count; ++i) values[i] = arithmetic(values[i]);
}

}  // namespace
}  // namespace fastnnunet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet {
namespace {

FASTNNUNET_DISPATCH(apply);

}  // namespace

void settle(const Linear& arithmetic, std::span<float> values) {
  if (arithmetic.changes()) apply(values.data(), values.size(), arithmetic);
}

}  // namespace fastnnunet
#endif  // HWY_ONCE
