// float16 as its bits, and float32 with no more than its precision.
#pragma once

#include <bit>
#include <cstdint>

#include "hwy/base.h"

namespace fastnnunet::simd {

// Without arithmetic on numbers that are subnormal in float32, which a thread may be set to flush to zero.
inline float half_to_float_exactly(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = half & 0x7c00u;
  std::uint32_t bits = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  if (exponent == 0x7c00u) {
    bits |= 0x7f800000u;  // infinite or not a number
  } else if (exponent != 0) {
    bits += (127u - 15u) << 23;
  } else {
    // The half is mantissa * 2^-24: as the mantissa of a number at 2^-14, less 2^-14.
    constexpr std::uint32_t kSmallest = (127u - 14u) << 23;
    bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits + kSmallest) - std::bit_cast<float>(kSmallest));
  }
  return std::bit_cast<float>(bits | sign);
}

// The same in vector code, for threads that keep subnormal numbers. The exponent's bias is made up for by a factor,
// which also takes care of subnormal values.
HWY_INLINE float half_to_float(std::uint16_t half) {
  const std::uint32_t bits = half;
  const float scaled = std::bit_cast<float>((bits & 0x7fffu) << 13) * 0x1p112f;
  const std::uint32_t special = (bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | special | (bits & 0x8000u) << 16);
}

// float32 with the precision of float16, ties to even. What is infinite or NaN stays so.
HWY_INLINE float rounded_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits & 0x80000000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const float normal = std::bit_cast<float>((magnitude + 0xfffu + ((magnitude >> 13) & 1u)) & ~0x1fffu);
  // Below 2^-14 steps are 2^-24, as those of floats from 0.5 to 1.
  const float subnormal = (std::bit_cast<float>(magnitude) + 0.5f) - 0.5f;
  const float kept = magnitude < 0x38800000u ? subnormal : normal;
  const float result = magnitude < 0x7f800000u ? kept : std::bit_cast<float>(magnitude);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(result) | sign);
}

// The same for values that are neither negative nor special, nor so small that float16 would make them subnormal.
HWY_INLINE float rounded_to_normal_half(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits += 0xFFFu + ((bits >> 13) & 1u);
  return std::bit_cast<float>(bits & ~0x1FFFu);
}

}  // namespace fastnnunet::simd
