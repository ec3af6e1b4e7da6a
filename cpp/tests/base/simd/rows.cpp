#include "fastnnunet/base/simd/rows.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/simd/float_key.h"

namespace fastnnunet::simd {
namespace {

TEST_CASE("rows: between four rows, each has its share", "[base]") {
  for (const std::int64_t count : {0, 1, 3, 4, 5, 16, 37}) {
    CAPTURE(count);
    const auto size = static_cast<std::size_t>(count);
    std::vector<float> rows[4];
    for (int row = 0; row < 4; ++row)
      for (std::size_t i = 0; i < size; ++i)
        rows[row].push_back(static_cast<float>((i + 1) * (i + 1)) * std::ldexp(1.0f, row));
    std::vector<float> out(size + 1, -1.0f);
    const float x = 0.25f, y = 0.75f;
    mix_rows(rows[0].data(), rows[1].data(), rows[2].data(), rows[3].data(), count, x, y, out.data());
    for (std::size_t i = 0; i < size; ++i)
      CHECK(out[i] == mix(mix(rows[0][i], rows[1][i], y), mix(rows[2][i], rows[3][i], y), x));
    CHECK(out[size] == -1.0f);
    // As the formula says, in numbers that are exact.
    if (count > 0) CHECK(out[0] == 0.75f * (0.25f * 1 + 0.75f * 2) + 0.25f * (0.25f * 4 + 0.75f * 8));
  }
}

TEST_CASE("rows: values beyond the bounds become the bounds, and NaN stays", "[base]") {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const float values[] = {-inf, -3, -2, -1.5, 0, 4.5, 5, 6, inf, nan};
  const float clamped[] = {-2, -2, -2, -1.5, 0, 4.5, 5, 5, 5, nan};
  for (std::size_t first = 0; first < 10; ++first)
    for (std::size_t count = 0; count <= 40; ++count) {
      std::vector<float> row(count + 1, 100.0f);
      for (std::size_t i = 0; i < count; ++i) row[i] = values[(first + i) % 10];
      clamp_row(row.data(), static_cast<std::int64_t>(count), -2.0f, 5.0f);
      for (std::size_t i = 0; i < count; ++i) {
        const float expected = clamped[(first + i) % 10];
        REQUIRE((std::isnan(expected) ? std::isnan(row[i]) : row[i] == expected));
      }
      REQUIRE(row[count] == 100.0f);
    }
}

TEST_CASE("float_key: in the order of the numbers, and back", "[base]") {
  const float inf = std::numeric_limits<float>::infinity(), least = std::numeric_limits<float>::denorm_min();
  const std::vector<float> ordered = {-inf, -3e38f, -1.5f,  -1.0f, -1e-38f, -least, -0.0f,
                                      0.0f, least,  1e-38f, 1.0f,  1.5f,    3e38f,  inf};
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    CHECK(std::bit_cast<std::uint32_t>(float_of_key(float_key(ordered[i]))) ==
          std::bit_cast<std::uint32_t>(ordered[i]));
    if (i > 0) CHECK(float_key(ordered[i - 1]) < float_key(ordered[i]));
  }
}

}  // namespace
}  // namespace fastnnunet::simd
