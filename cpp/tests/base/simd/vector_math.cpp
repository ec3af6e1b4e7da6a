#include "fastnnunet/base/simd/vector_math.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "catch.h"

namespace math = fastnnunet::math;

TEST_CASE("power is within 2e-6 of the exact value for gamma's range", "[base]") {
  double worst = 0;
  for (int i = 0; i <= 100000; ++i) {
    const float base = static_cast<float>(i) / 100000.0f;
    for (float exponent : {0.5f, 0.7f, 1.0f, 1.3f, 1.5f, 3.0f})
      worst = std::max(worst, std::abs(double{math::power(base, exponent)} - std::pow(double{base}, double{exponent})));
  }
  CHECK(worst < 2e-6);
  CHECK(math::power(0.0f, 0.7f) == 0.0f);
  CHECK(math::power(1.0f, 1.4f) == 1.0f);
}

TEST_CASE("log2 is within its stated error", "[base]") {
  double worst = 0;
  for (double x = 1e-6; x < 100.0; x *= 1.0003) {
    const float value = static_cast<float>(x);
    const double exact = std::log2(double{value});
    worst = std::max(worst, std::abs(double{math::log2(value)} - exact) / std::max(1.0, std::abs(exact)));
  }
  CHECK(worst < 3e-7);
}

TEST_CASE("sine and cosine of turns are within 1e-6", "[base]") {
  double worst = 0;
  for (int i = 0; i < 100000; ++i) {
    const float turns = static_cast<float>(i) / 100000.0f;
    float sine = 0, cosine = 0;
    math::sincos_turns(turns, sine, cosine);
    worst = std::max(worst, std::abs(double{sine} - std::sin(2 * std::numbers::pi * double{turns})));
    worst = std::max(worst, std::abs(double{cosine} - std::cos(2 * std::numbers::pi * double{turns})));
  }
  CHECK(worst < 1e-6);
}
