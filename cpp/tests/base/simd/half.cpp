#include "fastnnunet/base/simd/half.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "catch.h"

namespace fastnnunet::simd {
namespace {

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

// By its definition.
double value_of(std::uint32_t half) {
  const double sign = (half & 0x8000u) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(half >> 10) & 31;
  const double mantissa = half & 0x3ffu;
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024.0 + mantissa, exponent - 25));
}

TEST_CASE("half: every number is what its bits say, and needs no rounding") {
  for (std::uint32_t half = 0; half < 0x10000u; ++half) {
    const float exact = half_to_float_exactly(static_cast<std::uint16_t>(half));
    REQUIRE(bits_of(half_to_float(static_cast<std::uint16_t>(half))) == bits_of(exact));
    if ((half & 0x7c00u) == 0x7c00u) {
      REQUIRE(std::isinf(exact) == ((half & 0x3ffu) == 0));
      continue;
    }
    REQUIRE(static_cast<double>(exact) == value_of(half));
    REQUIRE(bits_of(rounded_to_half(exact)) == bits_of(exact));
    if (half >= 0x0400u && half < 0x7c00u) REQUIRE(bits_of(rounded_to_normal_half(exact)) == bits_of(exact));
  }
}

TEST_CASE("half: what lies between two numbers goes to the nearer one, and from the middle to the even one") {
  for (std::uint32_t half = 0; half < 0x7bffu; ++half) {
    const auto below = half_to_float_exactly(static_cast<std::uint16_t>(half));
    const auto above = half_to_float_exactly(static_cast<std::uint16_t>(half + 1));
    const float middle = 0.5f * (below + above);
    const auto check = [&](auto&& rounded) {
      REQUIRE(rounded(middle) == ((half & 1u) == 0 ? below : above));
      REQUIRE(rounded(std::nextafter(middle, 0.0f)) == below);
      REQUIRE(rounded(std::nextafter(middle, above)) == above);
    };
    check([](float value) { return rounded_to_half(value); });
    check([](float value) { return -rounded_to_half(-value); });
    if (half >= 0x0400u) check([](float value) { return rounded_to_normal_half(value); });
  }
}

}  // namespace
}  // namespace fastnnunet::simd
