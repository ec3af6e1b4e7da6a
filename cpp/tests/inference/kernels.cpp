#include "fastnnunet/inference/kernels.h"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"

namespace fastnnunet::inference {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// A stretch whose four rows are one, and whose voxels lie on those of the rows.
template <typename T>
std::vector<float> interpolated(const std::vector<T>& row, float weight) {
  std::vector<std::int32_t> lower, upper;
  std::vector<float> weights(row.size() - 1, weight), mixed(row.size()), values(row.size() - 1);
  for (std::size_t i = 0; i + 1 < row.size(); ++i) {
    lower.push_back(static_cast<std::int32_t>(i));
    upper.push_back(static_cast<std::int32_t>(i + 1));
  }
  const T* data = row.data();
  interpolate(Stretch<T>{{data, data, data, data},
                         0.25f,
                         0.5f,
                         0,
                         std::ssize(row),
                         lower.data(),
                         upper.data(),
                         weights.data(),
                         std::ssize(lower)},
              mixed.data(), values.data());
  return values;
}

TEST_CASE("logits: every float16 is read as what it is", "[inference]") {
  // Between a value and itself nothing is rounded, so all of them come back.
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const std::uint32_t exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    float expected = std::ldexp(static_cast<float>(exponent == 0 ? mantissa : mantissa + 1024),
                                static_cast<int>(exponent == 0 ? 1 : exponent) - 25);
    if (exponent == 31) expected = mantissa == 0 ? kInfinity : kNaN;
    if ((bits & 0x8000) != 0) expected = -expected;
    const float got = interpolated(std::vector<std::uint16_t>(2, half), 0.5f)[0];
    CAPTURE(bits);
    if (std::isnan(expected))
      REQUIRE(std::isnan(got));
    else
      REQUIRE(got == expected);
  }
}

TEST_CASE("logits: of float16 are rounded to float16, ties to even", "[inference]") {
  const auto halfway = [](std::uint16_t a, std::uint16_t b) {
    return interpolated(std::vector<std::uint16_t>{a, b}, 0.5f)[0];
  };
  // 1 and the next one; that one and the one after it.
  CHECK(halfway(0x3c00, 0x3c01) == 1.0f);
  CHECK(halfway(0x3c01, 0x3c02) == 1.0f + 2.0f / 1024.0f);
  CHECK(halfway(0xbc01, 0xbc02) == -1.0f - 2.0f / 1024.0f);
  // The smallest of all, and 0.
  CHECK(halfway(0x0000, 0x0001) == 0.0f);
  CHECK(halfway(0x0001, 0x0002) == 0x1p-23f);
  // Subnormal numbers lie 2^-24 apart, up to the smallest normal one, 2^-14.
  CHECK(halfway(0x0200, 0x0201) == 512 * 0x1p-24f);
  CHECK(halfway(0x03fe, 0x03ff) == 1022 * 0x1p-24f);
  CHECK(halfway(0x03ff, 0x0400) == 0x1p-14f);
  CHECK(halfway(0x83fe, 0x83ff) == -1022 * 0x1p-24f);
  CHECK(interpolated(std::vector<float>{1.0f, 1.0f + 2.0f / 1024.0f}, 0.25f)[0] == 1.0f + 0.5f / 1024.0f);
}

TEST_CASE("logits: the winner of a voxel is the first of the highest", "[inference]") {
  // (3 channels, 6 voxels)
  const std::vector<float> logits = {1, 2, 5, -kInfinity, 0, kNaN,  //
                                     2, 2, 4, 0,          0, 0,     //
                                     0, 2, 5, 1,          3, 1};
  std::vector<std::int32_t> winners(6);
  winners_of_row(logits.data(), 6, 3, false, 6, winners.data());
  CHECK(winners == std::vector<std::int32_t>{1, 0, 0, kUnknown, 2, kUnknown});
  winners_of_row(logits.data(), 6, 3, true, 6, winners.data());
  CHECK(winners == std::vector<std::int32_t>{2, 3, 3, kUnknown, 3, kUnknown});
}

TEST_CASE("logits: NaN wins over all that comes after it", "[inference]") {
  std::vector<float> best(1, -kInfinity), mixed(2);
  std::vector<std::int32_t> winners(1, 0);
  const std::int32_t lower = 0, upper = 1;
  const float weight = 0.5f;
  std::int32_t channel = 0;
  for (const float value : {-kInfinity, 1.0f, kNaN, 7.0f, kNaN}) {
    const std::vector<float> row(2, value);
    const float* data = row.data();
    improve_winners(Stretch<float>{{data, data, data, data}, 0.5f, 0.5f, 0, 2, &lower, &upper, &weight, 1}, channel++,
                    mixed.data(), best.data(), winners.data());
  }
  CHECK(winners[0] == 2);
}

TEST_CASE("logits: a block is decided where both neighbours are known and the same", "[inference]") {
  std::vector<std::int32_t> common(70, 4), lower, upper, winners(69);
  for (std::int32_t i = 0; i < 69; ++i) {
    lower.push_back(i);
    upper.push_back(i + 1);
  }
  std::vector<std::uint8_t> undecided(3, 9);
  spread_winners(common.data(), lower.data(), upper.data(), 69, winners.data(), undecided.data());
  CHECK(undecided == std::vector<std::uint8_t>{0, 0, 0});
  common[32] = 5;  // the last of the first block has it above, the first of the second below
  spread_winners(common.data(), lower.data(), upper.data(), 69, winners.data(), undecided.data());
  CHECK(undecided == std::vector<std::uint8_t>{1, 1, 0});
  common.assign(70, kUnknown);
  spread_winners(common.data(), lower.data(), upper.data(), 69, winners.data(), undecided.data());
  CHECK(undecided == std::vector<std::uint8_t>{1, 1, 1});
}

TEST_CASE("logits: exponentials and sigmoids", "[inference]") {
  std::vector<float> values = {0, -1, -20, 3}, best = {0, 0, 0, 5}, sums(4, 1.0f);
  exponentials(best.data(), 4, values.data(), sums.data());
  CHECK(values[1] == Catch::Approx(std::exp(-1.0f)));
  CHECK(values[2] == Catch::Approx(std::exp(-20.0f)));
  CHECK(sums[3] == Catch::Approx(1 + std::exp(-2.0f)));
  values = {0, 2, -200, 200};
  sigmoids(4, values.data());
  CHECK(values[0] == 0.5f);
  CHECK(values[1] == Catch::Approx(1 / (1 + std::exp(-2.0f))));
  CHECK(values[2] == Catch::Approx(0).margin(1e-30));
  CHECK(values[3] == 1.0f);
}

}  // namespace
}  // namespace fastnnunet::inference
