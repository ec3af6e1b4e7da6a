// Unsigned integers in the order of the floats that they stand for, so that floats can be counted and sorted by their
// bits. -0 comes before 0; NaN has no place.
#pragma once

#include <bit>
#include <cstdint>

#include "hwy/base.h"

namespace fastnnunet::simd {

HWY_INLINE std::uint32_t float_key(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return bits ^ (static_cast<std::uint32_t>(-static_cast<std::int32_t>(bits >> 31)) | 0x80000000u);
}

HWY_INLINE float float_of_key(std::uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000u : 0xFFFFFFFFu));
}

}  // namespace fastnnunet::simd
