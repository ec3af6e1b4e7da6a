#include "fastnnunet/base/simd/rows.h"

#define HWY_TARGET_INCLUDE "fastnnunet/base/simd/rows.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_mix.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::simd::HWY_NAMESPACE {
namespace {

void mix_vectors(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
                 std::int64_t count, float x, float y, float* HWY_RESTRICT out) {
  each_vector<float>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto along_y = hn::Set(d, y);
    const auto lower = mix(hn::LoadU(d, lower_lower + i), hn::LoadU(d, lower_upper + i), along_y);
    const auto upper = mix(hn::LoadU(d, upper_lower + i), hn::LoadU(d, upper_upper + i), along_y);
    hn::StoreU(mix(lower, upper, hn::Set(d, x)), d, out + i);
  });
}

void clamp_vectors(float* values, std::int64_t count, float low, float high) {
  map_values(values, count,
             [&](auto d, auto value) HWY_ATTR { return clamp(value, hn::Set(d, low), hn::Set(d, high)); });
}

}  // namespace
}  // namespace fastnnunet::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::simd {
namespace {

FASTNNUNET_DISPATCH(mix_vectors);
FASTNNUNET_DISPATCH(clamp_vectors);

}  // namespace

void mix_rows(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
              std::int64_t count, float x, float y, float* out) {
  mix_vectors(lower_lower, lower_upper, upper_lower, upper_upper, count, x, y, out);
}

void clamp_row(float* values, std::int64_t count, float low, float high) { clamp_vectors(values, count, low, high); }

}  // namespace fastnnunet::simd
#endif  // HWY_ONCE
