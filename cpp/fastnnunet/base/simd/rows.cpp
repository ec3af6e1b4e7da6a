#include "fastnnunet/base/simd/rows.h"

#define HWY_TARGET_INCLUDE "fastnnunet/base/simd/rows.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::HWY_NAMESPACE {
namespace {

template <typename V>
HWY_INLINE V between(V a, V b, V share) {
  return hn::Add(a, hn::Mul(share, hn::Sub(b, a)));
}

void mix(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
         std::int64_t count, float x, float y, float* HWY_RESTRICT out) {
  each_vector<float>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto along_y = hn::Set(d, y);
    const auto lower = between(hn::LoadU(d, lower_lower + i), hn::LoadU(d, lower_upper + i), along_y);
    const auto upper = between(hn::LoadU(d, upper_lower + i), hn::LoadU(d, upper_upper + i), along_y);
    hn::StoreU(between(lower, upper, hn::Set(d, x)), d, out + i);
  });
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
