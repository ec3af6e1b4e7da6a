// Elementary functions written so that compilers turn loops over them into vector code: no branch, no table, no call.
// Polynomials are summed in halves (Estrin's scheme): one after the other, their terms would wait for each other.
// Errors are relative to the exact value, measured over the stated range by cpp/tests/base/simd/vector_math.cpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "hwy/base.h"

namespace fastnnunet::math {

// log2 of a positive normal float; 3e-7 absolute near 1, else 2 ulp. Zero gives about -127, which exp2 takes to 0.
HWY_INLINE float log2(float x) {
  const std::int32_t bits = std::bit_cast<std::int32_t>(x);
  // The mantissa is taken from [sqrt(1/2), sqrt(2)), so that the series is symmetric around 1.
  const std::int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float mantissa = std::bit_cast<float>(bits - (exponent << 23));
  const float t = (mantissa - 1.0f) / (mantissa + 1.0f);  // |t| < 0.1716
  const float t2 = t * t;
  // 2/ln(2) * atanh(t)
  const float t4 = t2 * t2;
  const float series = (0.9617967f * t2 + 2.8853900f) + t4 * ((0.4121986f * t2 + 0.5770780f) + t4 * 0.3205989f);
  return static_cast<float>(exponent) + t * series;
}

// 2^x for x in [-126, 126], clamped outside; 2e-7 relative.
HWY_INLINE float exp2(float x) {
  // On its bits: of a choice between floats GCC makes a branch with constants folded into it, and no vector code.
  const std::int32_t bits = std::bit_cast<std::int32_t>(x);
  const std::int32_t size = std::min(bits & 0x7fffffff, std::bit_cast<std::int32_t>(126.0f));
  x = std::bit_cast<float>((bits & static_cast<std::int32_t>(0x80000000u)) | size);
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
  const float shifted = x + 12582912.0f;
  const float whole = shifted - 12582912.0f;
  const float fraction = x - whole;  // [-0.5, 0.5]
  const float square = fraction * fraction;
  const float low = 6.9314718e-1f * fraction + 1.0f, middle = 5.5504109e-2f * fraction + 2.4022651e-1f;
  const float high = (1.3333558e-3f * fraction + 9.6181291e-3f) + square * 1.5403530e-4f;
  const float value = (low + square * middle) + (square * square) * high;
  const std::int32_t power = (std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(12582912.0f) + 127)
                             << 23;
  return value * std::bit_cast<float>(power);
}

// base^exponent for base in [0, 1]; 0^e = 0 for e > 0. In two steps, for two short loops are faster than one: their
// steps wait less for each other.
HWY_INLINE float log2_of_power(float base, float exponent) {
  // Bits of positive floats are in the order of the floats. Bits and a mask for the reason above.
  const std::int32_t positive = std::max(std::bit_cast<std::int32_t>(base), std::bit_cast<std::int32_t>(1e-38f));
  return exponent * log2(std::bit_cast<float>(positive));
}
HWY_INLINE float power_of_log2(float base, float logarithm) {
  const float value = exp2(logarithm);
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(value) & -static_cast<std::int32_t>(base > 0.0f));
}
HWY_INLINE float power(float base, float exponent) { return power_of_log2(base, log2_of_power(base, exponent)); }

// sin and cos of 2*pi*turns, turns in [0, 1); 1e-6 absolute.
HWY_INLINE void sincos_turns(float turns, float& sine, float& cosine) {
  // Fold to an eighth of a turn around the nearest quarter.
  const float shifted = turns * 4.0f + 12582912.0f;
  const std::int32_t quadrant = std::bit_cast<std::int32_t>(shifted) & 3;
  const float angle = (turns - (shifted - 12582912.0f) * 0.25f) * 6.2831853f;  // [-pi/4, pi/4]
  const float a2 = angle * angle;
  const float a4 = a2 * a2;
  const float s = angle * ((-1.6666655e-1f * a2 + 1.0f) + a4 * (-1.9515296e-4f * a2 + 8.3321609e-3f));
  const float c = (1.0f - 0.5f * a2) + a4 * ((2.4433157e-5f * a2 - 1.3887316e-3f) * a2 + 4.1666646e-2f);
  const float swapped_sine = (quadrant & 1) ? c : s;
  const float swapped_cosine = (quadrant & 1) ? s : c;
  sine = (quadrant & 2) ? -swapped_sine : swapped_sine;
  cosine = ((quadrant + 1) & 2) ? -swapped_cosine : swapped_cosine;
}

}  // namespace fastnnunet::math
