#include "fastnnunet/pictures/outlines.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::pictures {
namespace {

// The area inside of a polygon, by the shoelace formula.
double area(const Outline& polygon) {
  double twice = 0;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const OutlinePoint &a = polygon[i], &b = polygon[(i + 1) % polygon.size()];
    twice += static_cast<double>(a.row) * b.column - static_cast<double>(b.row) * a.column;
  }
  return std::abs(twice) / 2;
}

}  // namespace

TEST_CASE("outlines: a single voxel is a square around its centre", "[pictures]") {
  std::array<std::uint8_t, 12> mask{};
  mask[1 * 4 + 2] = 7;
  const auto found = outlines(mask.data(), 3, 4);
  REQUIRE(found.size() == 1);
  REQUIRE(found[0].size() == 4);
  for (const OutlinePoint& point : found[0]) {
    CHECK(std::abs(point.row - 1.0f) == 0.375f);
    CHECK(std::abs(point.column - 2.0f) == 0.375f);
  }
  CHECK(area(found[0]) == 0.75 * 0.75);
}

TEST_CASE("outlines: areas at the border of an image are closed", "[pictures]") {
  const std::array<std::uint8_t, 6> mask{1, 1, 1, 1, 1, 1};
  const auto found = outlines(mask.data(), 2, 3);
  REQUIRE(found.size() == 1);
  CHECK(area(found[0]) == 1.75 * 2.75);
}

TEST_CASE("outlines: a hole has an outline of its own, around it", "[pictures]") {
  std::array<std::uint8_t, 25> mask{};
  for (int row = 1; row < 4; ++row)
    for (int column = 1; column < 4; ++column) mask[static_cast<std::size_t>(row * 5 + column)] = 1;
  mask[12] = 0;
  const auto found = outlines(mask.data(), 5, 5);
  REQUIRE(found.size() == 2);
  const auto [hole, outer] = std::minmax({area(found[0]), area(found[1])});
  CHECK(outer == 2.75 * 2.75);
  CHECK(hole > 1.0);
  CHECK(hole < 1.25 * 1.25 + 1e-6);
}

TEST_CASE("outlines: two labels that touch do not share a line", "[pictures]") {
  const std::array<std::uint8_t, 4> left{1, 0, 1, 0}, right{0, 1, 0, 1};
  float end = -1, start = 2;
  const Outline of_left = outlines(left.data(), 2, 2).at(0), of_right = outlines(right.data(), 2, 2).at(0);
  for (const OutlinePoint& point : of_left) end = std::max(end, point.column);
  for (const OutlinePoint& point : of_right) start = std::min(start, point.column);
  CHECK(start - end == 0.25f);
}

TEST_CASE("outlines: an empty mask has none, an impossible one is refused", "[pictures]") {
  const std::array<std::uint8_t, 4> mask{};
  CHECK(outlines(mask.data(), 2, 2).empty());
  CHECK_THROWS_AS(outlines(mask.data(), 0, 2), InvalidArgument);
  constexpr std::int64_t kMost = 16384;
  const std::vector<std::uint8_t> line(kMost + 1, 1);
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{0}, kMost + 1, std::int64_t{1} << 20}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(outlines(line.data(), wrong, 1), InvalidArgument);
    CHECK_THROWS_AS(outlines(line.data(), 1, wrong), InvalidArgument);
  }
  for (const bool along : {false, true}) {
    const auto found = outlines(line.data(), along ? kMost : 1, along ? 1 : kMost);
    REQUIRE(found.size() == 1);
    CHECK(area(found[0]) == (kMost - 0.25) * 0.75);
  }
}

TEST_CASE("outlines: whatever is not 0 belongs to the label", "[pictures]") {
  const std::array<std::uint8_t, 4> one{1, 1, 1, 1}, many{1, 2, 128, 255};
  const auto expected = outlines(one.data(), 1, 4), found = outlines(many.data(), 1, 4);
  REQUIRE(found.size() == 1);
  REQUIRE(found[0].size() == expected.at(0).size());
  CHECK(area(found[0]) == 3.75 * 0.75);
}

}  // namespace fastnnunet::pictures
