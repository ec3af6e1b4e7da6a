// Arithmetic on whole rows along Z.
#pragma once

#include <cstdint>

#include "hwy/base.h"

namespace fastnnunet::simd {

// `share` of the way from a to b. What is constant stays so to the last bit, whatever the share.
HWY_INLINE float mix(float a, float b, float share) { return a + share * (b - a); }

// out[i]: between four rows, lower and upper along X, and of each lower and upper along Y; `x` and `y` are the shares
// of the way to the upper ones, that along Y first. `out` overlaps no row.
void mix_rows(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
              std::int64_t count, float x, float y, float* out);

// NaN stays.
void clamp_row(float* values, std::int64_t count, float low, float high);

}  // namespace fastnnunet::simd
