#include "fastnnunet/sampling/found_locations.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "storage/files.h"

namespace fastnnunet::sampling {
namespace {

using namespace testing;

struct Labels {
  Index3 shape;
  std::vector<std::int16_t> values;

  std::int16_t at(std::int64_t x, std::int64_t y, std::int64_t z) const {
    return values[static_cast<std::size_t>((x * shape[1] + y) * shape[2] + z)];
  }

  std::unique_ptr<Volume> written(const TemporaryFolder& folder) const {
    const std::filesystem::path file = folder / "a_seg.npy";
    write_file(file, npy_header(npy_dict("<i2", {1, shape[0], shape[1], shape[2]})) + bytes_of(values));
    return open_volume(file, "seg");
  }
};

// 60 x 70 x 80 voxels: -1 in the first plane, 1 nearly everywhere, some 2 and 3, one 7.
Labels labels() {
  Labels made{{60, 70, 80}, std::vector<std::int16_t>(60 * 70 * 80, 1)};
  for (std::size_t i = 0; i < 70 * 80; ++i) made.values[i] = -1;
  for (std::size_t i = 70 * 80; i < made.values.size(); i += 50) made.values[i] = i % 100 == 0 ? 2 : 3;
  made.values[123'456] = 7;
  for (std::size_t i = 200'000; i < 210'000; ++i) made.values[i] = 0;
  return made;
}

void check_voxels(const FoundClass& of, const Labels& in, const std::set<std::int64_t>& allowed) {
  std::set<std::vector<std::int64_t>> seen;
  for (std::size_t i = 0; i + 2 < of.voxels.size(); i += 3) {
    const std::int64_t x = of.voxels[i], y = of.voxels[i + 1], z = of.voxels[i + 2];
    if (!allowed.contains(in.at(x, y, z))) FAIL("a voxel of label " << in.at(x, y, z));
    seen.insert({x, y, z});
  }
  CHECK(seen.size() * 3 == of.voxels.size());  // without replacement
}

TEST_CASE("found locations: every label above 0, as many voxels as nnU-Net keeps", "[sampling]") {
  const TemporaryFolder folder;
  const Labels in = labels();
  std::map<std::int16_t, std::size_t> counts;
  for (const std::int16_t label : in.values) ++counts[label];
  const auto found = find_class_locations(*in.written(folder), std::nullopt, std::nullopt);
  REQUIRE(found.size() == 4);
  const std::vector<std::int64_t> expected = {1, 2, 3, 7};
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].labels == std::vector<std::int64_t>{expected[i]});
    CHECK_FALSE(found[i].is_annotated);
    CHECK(found[i].voxels.size() / 3 == std::min<std::size_t>(10'000, counts[static_cast<std::int16_t>(expected[i])]));
    check_voxels(found[i], in, {expected[i]});
  }
  // Drawn from all of the volume: each tenth of its planes has its share.
  std::vector<int> tenths(10);
  for (std::size_t i = 0; i < found[0].voxels.size(); i += 3)
    ++tenths[static_cast<std::size_t>(found[0].voxels[i] / 6)];
  for (std::size_t i = 1; i < 10; ++i) CHECK(tenths[i] > 700);
  const auto again = find_class_locations(*in.written(folder), std::nullopt, std::nullopt);
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(again[i].voxels == found[i].voxels);
}

TEST_CASE("found locations: regions, classes that do not occur, and an ignored label", "[sampling]") {
  const TemporaryFolder folder;
  const Labels in = labels();
  const auto found = find_class_locations(*in.written(folder), {{{1, 2, 3, 2}, {2}, {5}}}, 3);
  REQUIRE(found.size() == 4);
  check_voxels(found[0], in, {1, 2, 3});
  check_voxels(found[1], in, {2});
  CHECK(found[2].voxels.empty());
  CHECK(found[3].is_annotated);
  CHECK(found[3].labels == std::vector<std::int64_t>{-1});
  CHECK(found[3].voxels.size() == 30'000);
  check_voxels(found[3], in, {-1, 0, 1, 2, 7});
}

template <typename T>
std::string refused(const std::string& dtype, T value) {
  const TemporaryFolder folder;
  std::vector<T> values(24, T{1});
  values[17] = value;
  write_file(folder / "a_seg.npy", npy_header(npy_dict(dtype, {1, 2, 3, 4})) + bytes_of(values));
  try {
    find_class_locations(*open_volume(folder / "a_seg.npy", "seg"), std::nullopt, std::nullopt);
  } catch (const StorageError& error) {
    return error.reason();
  }
  return "";
}

TEST_CASE("found locations: a value that is no label is told", "[sampling]") {
  const std::string expected = "expected labels, whole numbers from -32768 to 32767, got ";
  CHECK(refused<float>("<f4", 0.5F) == expected + "0.5");
  CHECK(refused<float>("<f4", std::numeric_limits<float>::quiet_NaN()) == expected + "nan");
  CHECK(refused<std::int32_t>("<i4", 40'000) == expected + "40000");
  CHECK(refused<std::uint16_t>("<u2", 65'535) == expected + "65535");
  CHECK(refused<std::int64_t>("<i8", -32'769) == expected + "-32769");
  CHECK(refused<double>("<f8", -32'768).empty());
  CHECK(refused<std::int32_t>("<i4", 32'767).empty());
}

TEST_CASE("found locations: one voxel in a hundred of a large class", "[sampling]") {
  const TemporaryFolder folder;
  const Labels in{{110, 100, 100}, std::vector<std::int16_t>(1'100'000, 4)};
  const auto found = find_class_locations(*in.written(folder), std::nullopt, std::nullopt);
  REQUIRE(found.size() == 1);
  CHECK(found[0].voxels.size() == 3 * 11'000);
}

}  // namespace
}  // namespace fastnnunet::sampling
