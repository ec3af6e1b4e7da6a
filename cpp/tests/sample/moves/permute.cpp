#include "fastnnunet/sample/moves/permute.h"

#include <array>
#include <cstdint>
#include <vector>

#include "catch.h"

namespace fastnnunet::sample {
namespace {

// Voxel by voxel.
template <typename T>
std::vector<T> moved(const std::vector<T>& from, std::int64_t size, const AxisPermutation& permutation) {
  std::vector<T> out;
  for (std::int64_t x = 0; x < size; ++x)
    for (std::int64_t y = 0; y < size; ++y)
      for (std::int64_t z = 0; z < size; ++z) {
        const Index3 at{x, y, z};
        Index3 source{};
        for (std::size_t axis = 0; axis < 3; ++axis)
          source[static_cast<std::size_t>(permutation.from[axis])] =
              permutation.reversed[axis] ? size - 1 - at[axis] : at[axis];
        out.push_back(from[static_cast<std::size_t>((source[0] * size + source[1]) * size + source[2])]);
      }
  return out;
}

template <typename T>
void check(std::int64_t size) {
  Workspace workspace;
  std::vector<T> values(static_cast<std::size_t>(size * size * size));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i % 251);
  for (const std::array<int, 3>& from : {std::array{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}})
    for (int flips = 0; flips < 8; ++flips) {
      const AxisPermutation permutation{from, {(flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0}};
      CAPTURE(size, from[0], from[1], from[2], flips);
      std::vector<T> in_place = values;
      permute_in_place(workspace, in_place.data(), {size, size, size}, permutation);
      REQUIRE(in_place == moved(values, size, permutation));
    }
}

TEST_CASE("permute: every order of the axes, turned around or not, below, at and above the size of a tile",
          "[sample]") {
  for (const std::int64_t size : {1, 2, 15, 16, 17, 33}) {
    check<float>(size);
    check<std::int16_t>(size);
    check<std::uint8_t>(size);
  }
}

}  // namespace
}  // namespace fastnnunet::sample
