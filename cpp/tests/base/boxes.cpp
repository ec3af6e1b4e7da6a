#include "fastnnunet/base/boxes.h"

#include <vector>

#include "catch.h"

namespace fastnnunet::base {
namespace {

constexpr Box kBox{{1, -2, 3}, {4, 0, 7}};

TEST_CASE("boxes: what they contain", "[base]") {
  CHECK(contains(kBox, kBox));
  CHECK(contains(kBox, Box{{2, -1, 3}, {3, 0, 4}}));
  CHECK(contains(kBox, Index3{1, -2, 3}));
  CHECK(contains(kBox, Index3{3, -1, 6}));
  for (int axis = 0; axis < 3; ++axis) {
    Box beyond = kBox;
    --beyond.lower[axis];
    CHECK_FALSE(contains(kBox, beyond));
    beyond = kBox;
    ++beyond.upper[axis];
    CHECK_FALSE(contains(kBox, beyond));
    Index3 voxel = kBox.lower;
    --voxel[axis];
    CHECK_FALSE(contains(kBox, voxel));
    voxel[axis] = kBox.upper[axis];
    CHECK_FALSE(contains(kBox, voxel));
  }
}

TEST_CASE("boxes: voxels are counted along Z first", "[base]") {
  std::int64_t number = 0;
  for (std::int64_t x = 1; x < 4; ++x)
    for (std::int64_t y = -2; y < 0; ++y)
      for (std::int64_t z = 3; z < 7; ++z) CHECK(offset_in(kBox, {x, y, z}) == number++);
  CHECK(relative_to({1, -2, 3}, kBox) == Box::of_shape({3, 2, 4}));
}

TEST_CASE("boxes: what is outside of an image is filled, and nothing else", "[base]") {
  for (const Box& inner : {Box{{2, -1, 4}, {3, 0, 6}}, Box{{1, -2, 3}, {4, 0, 5}}, kBox, Box{{2, -1, 4}, {2, -1, 4}}}) {
    std::vector<int> values(static_cast<std::size_t>(voxels(kBox.shape())), 1);
    fill_outside(kBox, inner, values.data(), 5);
    for (std::int64_t x = 1; x < 4; ++x)
      for (std::int64_t y = -2; y < 0; ++y)
        for (std::int64_t z = 3; z < 7; ++z)
          CHECK(values[static_cast<std::size_t>(offset_in(kBox, {x, y, z}))] ==
                (contains(inner, Index3{x, y, z}) ? 1 : 5));
  }
}

}  // namespace
}  // namespace fastnnunet::base
