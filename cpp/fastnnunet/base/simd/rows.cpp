#include "fastnnunet/base/simd/rows.h"

#define HWY_TARGET_INCLUDE "fastnnunet/base/simd/rows.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::HWY_NAMESPACE {
namespace {

void mix(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
         std::int64_t count, float x, float y, float* HWY_RESTRICT out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float lower = lower_lower[i] + y * (lower_upper[i] - lower_lower[i]);
    const float upper = upper_lower[i] + y * (upper_upper[i] - upper_lower[i]);
    out[i] = lower + x * (upper - lower);
  }
}

}  // namespace
}  // namespace fastnnunet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet {
namespace {

FASTNNUNET_DISPATCH(mix);

}  // namespace

void mix_rows(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
              std::int64_t count, float x, float y, float* out) {
  mix(lower_lower, lower_upper, upper_lower, upper_upper, count, x, y, out);
}

}  // namespace fastnnunet
#endif  // HWY_ONCE
