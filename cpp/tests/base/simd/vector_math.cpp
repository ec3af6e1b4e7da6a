#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "catch.h"

#define HWY_TARGET_INCLUDE "base/simd/vector_math.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_math.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::simd::HWY_NAMESPACE {
namespace {

void raise_all(float* bases, std::int64_t count, float exponent) {
  map_values(bases, count, [&](auto d, auto base) HWY_ATTR { return math::power(d, base, hn::Set(d, exponent)); });
}

void log2_of_all(float* values, std::int64_t count) {
  map_values(values, count, [](auto d, auto value) HWY_ATTR { return math::log2(d, value); });
}

void exp2_of_all(float* values, std::int64_t count) {
  map_values(values, count, [](auto d, auto value) HWY_ATTR { return math::exp2(d, value); });
}

// `turns` become sines.
void turn_all(float* turns, float* cosines, std::int64_t count) {
  each_vector<float>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    auto sine = hn::Zero(d), cosine = sine;
    math::sincos_turns(d, hn::LoadU(d, turns + i), sine, cosine);
    hn::StoreU(sine, d, turns + i);
    hn::StoreU(cosine, d, cosines + i);
  });
}

void count_up(std::int32_t* values, std::int64_t count) {
  each_vector<std::int32_t>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, values + i), hn::Set(d, 1)), d, values + i);
  });
}

void clamp_all(float* values, std::int64_t count, float low, float high) {
  map_values(values, count,
             [&](auto d, auto value) HWY_ATTR { return clamp(value, hn::Set(d, low), hn::Set(d, high)); });
}

}  // namespace
}  // namespace fastnnunet::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::simd {
namespace {

FASTNNUNET_DISPATCH(raise_all);
FASTNNUNET_DISPATCH(log2_of_all);
FASTNNUNET_DISPATCH(exp2_of_all);
FASTNNUNET_DISPATCH(turn_all);
FASTNNUNET_DISPATCH(count_up);
FASTNNUNET_DISPATCH(clamp_all);

std::int64_t size_of(const std::vector<float>& values) { return static_cast<std::int64_t>(values.size()); }

std::vector<float> shares() {
  std::vector<float> values;
  for (int i = 0; i <= 100000; ++i) values.push_back(static_cast<float>(i) / 100000.0f);
  return values;
}

TEST_CASE("power is within 2e-6 of the exact value for gamma's range", "[base]") {
  double worst = 0;
  const std::vector<float> bases = shares();
  for (const float exponent : {0.5f, 0.7f, 1.0f, 1.3f, 1.5f, 3.0f}) {
    std::vector<float> powers = bases;
    raise_all(powers.data(), size_of(powers), exponent);
    for (std::size_t i = 0; i < bases.size(); ++i)
      worst = std::max(worst, std::abs(double{powers[i]} - std::pow(double{bases[i]}, double{exponent})));
    CHECK(powers.front() == 0.0f);
    CHECK(powers.back() == 1.0f);
  }
  CHECK(worst < 2e-6);
}

TEST_CASE("log2 and exp2 are within their stated errors", "[base]") {
  std::vector<float> values;
  for (double x = 1e-6; x < 100.0; x *= 1.0003) values.push_back(static_cast<float>(x));
  std::vector<float> logarithms = values;
  log2_of_all(logarithms.data(), size_of(logarithms));
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double exact = std::log2(double{values[i]});
    worst = std::max(worst, std::abs(double{logarithms[i]} - exact) / std::max(1.0, std::abs(exact)));
  }
  CHECK(worst < 3e-7);
  std::vector<float> powers = logarithms;
  exp2_of_all(powers.data(), size_of(powers));
  worst = 0;
  for (std::size_t i = 0; i < powers.size(); ++i)
    worst = std::max(worst, std::abs(double{powers[i]} / std::exp2(double{logarithms[i]}) - 1.0));
  CHECK(worst < 3e-7);
}

TEST_CASE("sine and cosine of turns are within 1e-6", "[base]") {
  std::vector<float> turns = shares();
  turns.pop_back();
  std::vector<float> sines = turns, cosines = turns;
  turn_all(sines.data(), cosines.data(), size_of(turns));
  double worst = 0;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const double angle = 2 * std::numbers::pi * double{turns[i]};
    worst = std::max(worst, std::abs(double{sines[i]} - std::sin(angle)));
    worst = std::max(worst, std::abs(double{cosines[i]} - std::cos(angle)));
  }
  CHECK(worst < 1e-6);
}

TEST_CASE("vectors: every value of a row of any length is visited once", "[base]") {
  for (std::int64_t count = 0; count <= 100; ++count) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(count) + 64, 0);
    count_up(values.data(), count);
    for (std::size_t i = 0; i < values.size(); ++i)
      REQUIRE(values[i] == (static_cast<std::int64_t>(i) < count ? 1 : 0));
  }
}

TEST_CASE("vectors: what is clamped is within the bounds, and NaN stays", "[base]") {
  for (std::size_t count : {1, 4, 16, 21}) {
    std::vector<float> values(count, std::nanf(""));
    clamp_all(values.data(), size_of(values), -1.0f, 1.0f);
    for (const float value : values) REQUIRE(std::isnan(value));
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i) - 2.5f;
    clamp_all(values.data(), size_of(values), -1.0f, 1.0f);
    for (std::size_t i = 0; i < count; ++i)
      REQUIRE(values[i] == std::min(std::max(static_cast<float>(i) - 2.5f, -1.0f), 1.0f));
  }
}

}  // namespace
}  // namespace fastnnunet::simd
#endif  // HWY_ONCE
