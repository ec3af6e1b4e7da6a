#include "fastnnunet/sampling/class_locations.h"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::sampling {
namespace {

TEST_CASE("class locations: voxels come back as they went in", "[sampling]") {
  ClassLocations locations({7, 11, 13});
  // Four columns as nnU-Net stores them, the channel first; three as 2D tools write them.
  const std::vector<std::int64_t> four = {0, 0, 0, 0, 0, 6, 10, 12, 0, 3, 4, 5};
  const std::vector<std::int64_t> three = {1, 2, 3};
  locations.add({1}, false, false, four, 4);
  locations.add({2, 3}, true, false, {}, 4);
  locations.add({-1, 1, 2}, true, true, three, 3);

  REQUIRE(locations.classes().size() == 3);
  const auto& [first, region, annotated] =
      std::tie(locations.classes()[0], locations.classes()[1], locations.classes()[2]);
  REQUIRE(first.count == 3);
  CHECK(locations.voxel(first, 0) == Index3{0, 0, 0});
  CHECK(locations.voxel(first, 1) == Index3{6, 10, 12});
  CHECK(locations.voxel(first, 2) == Index3{3, 4, 5});
  CHECK(region.count == 0);
  CHECK(region.is_region);
  CHECK(region.labels == std::vector<std::int64_t>{2, 3});
  REQUIRE(annotated.count == 1);
  CHECK(annotated.is_annotated);
  CHECK(locations.voxel(annotated, 0) == Index3{1, 2, 3});
}

TEST_CASE("class locations: an image of more than 2^32 voxels", "[sampling]") {
  ClassLocations locations({3000, 3000, 3000});
  const std::vector<std::int64_t> voxels = {2999, 2999, 2999, 17, 0, 2998};
  locations.add({1}, false, false, voxels, 3);
  CHECK(locations.voxel(locations.classes()[0], 0) == Index3{2999, 2999, 2999});
  CHECK(locations.voxel(locations.classes()[0], 1) == Index3{17, 0, 2998});
}

TEST_CASE("class locations: a voxel takes four bytes, nnU-Net's take 32", "[sampling]") {
  ClassLocations locations({512, 512, 512});
  const std::vector<std::int64_t> voxels(4 * 10000, 5);
  const std::size_t before = locations.memory();
  for (int label = 1; label <= 20; ++label) locations.add({label}, false, false, voxels, 4);
  CHECK(locations.memory() - before < 20 * 10000 * 4 * 2);  // a growing vector may hold twice what is in it
}

TEST_CASE("class locations: memory counts voxels, labels and classes", "[sampling]") {
  const std::vector<std::int64_t> voxels(3 * 1000, 5);
  for (const auto& [side, bytes] : {std::pair<std::int64_t, std::size_t>{512, 4}, {3000, 8}}) {
    CAPTURE(side);
    ClassLocations locations({side, side, side});
    const std::size_t before = locations.memory();
    locations.add({1}, false, false, voxels, 3);
    CHECK(locations.memory() >= before + 1000 * bytes);
    const std::size_t one = locations.memory();
    locations.add(std::vector<std::int64_t>(500, 1), true, false, {}, 3);
    CHECK(locations.memory() >= one + 500 * sizeof(std::int64_t));
  }
}

TEST_CASE("class locations: what cannot be a voxel of the image is refused", "[sampling]") {
  ClassLocations locations({4, 5, 6});
  for (const Index3& outside :
       {Index3{4, 0, 0}, Index3{0, 5, 0}, Index3{0, 0, 6}, Index3{-1, 0, 0}, Index3{1, -1, 0}, Index3{1, 0, -1}}) {
    CHECK_THROWS_AS(locations.add({1}, false, false, outside, 3), InvalidArgument);
  }
  const std::vector<std::int64_t> pairs = {1, 2};
  CHECK_THROWS_AS(locations.add({1}, false, false, pairs, 2), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::sampling
