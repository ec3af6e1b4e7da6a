#include "fastnnunet/preprocessing/locations.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "catch.h"

namespace fastnnunet::preprocessing {
namespace {

using Rows = std::vector<std::vector<std::int64_t>>;

// (X, Y, Z) of 20 x 20 x 20: label 1 in every second voxel, 2 in one, else 0.
std::vector<std::int16_t> labels() {
  std::vector<std::int16_t> result(8000);
  for (std::size_t i = 0; i < result.size(); i += 2) result[i] = 1;
  result[4321] = 2;
  return result;
}

std::size_t voxel_at(const std::vector<std::int64_t>& rows, std::size_t i) {
  return static_cast<std::size_t>((rows[4 * i + 1] * 20 + rows[4 * i + 2]) * 20 + rows[4 * i + 3]);
}

TEST_CASE("preprocessing: locations are distinct voxels of their class", "[preprocessing]") {
  const std::vector<std::int16_t> volume = labels();
  const Rows found = sample_locations(volume.data(), {20, 20, 20}, {{1}, {2}, {3}, {2, 1}, {-1, 0}}, {1234, 50, 0.02});
  REQUIRE(found.size() == 5);
  CHECK(found[0].size() == 4 * 80);  // two per cent of 4000 are more than 50
  CHECK(found[1].size() == 4);
  CHECK(voxel_at(found[1], 0) == 4321);
  CHECK(found[2].empty());
  CHECK(found[3].size() == 4 * 81);
  std::set<std::size_t> distinct;
  for (std::size_t i = 0; i < 80; ++i) {
    CHECK(found[0][4 * i] == 0);
    CHECK(volume[voxel_at(found[0], i)] == 1);
    distinct.insert(voxel_at(found[0], i));
  }
  CHECK(distinct.size() == 80);
  for (std::size_t i = 0; i < found[3].size() / 4; ++i) CHECK(volume[voxel_at(found[3], i)] > 0);
  for (std::size_t i = 0; i < found[4].size() / 4; ++i) CHECK(volume[voxel_at(found[4], i)] == 0);
}

TEST_CASE("preprocessing: all voxels are taken where there are few", "[preprocessing]") {
  const std::vector<std::int16_t> volume = labels();
  const Rows found = sample_locations(volume.data(), {20, 20, 20}, {{1}}, {7, 10000, 0.01});
  CHECK(found[0].size() == 4 * 4000);
}

TEST_CASE("preprocessing: labels that no int16 holds are in no voxel", "[preprocessing]") {
  const std::vector<std::int16_t> volume = labels();
  CHECK(sample_locations(volume.data(), {20, 20, 20}, {{65537, 1 << 20}}, {})[0].empty());
}

}  // namespace
}  // namespace fastnnunet::preprocessing
