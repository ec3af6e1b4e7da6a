// What every field of a frame's header, and of the metalayer b2nd in it, has to be.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

Bytes big_endian(std::int64_t value, int count) {
  Bytes bytes;
  for (int i = count - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

// Places of the metalayer's fields, counted from its first byte.
constexpr std::size_t shape_at(std::size_t axis) { return 5 + 9 * axis; }
constexpr std::size_t chunk_at(std::size_t axis) { return 42 + 5 * axis; }
constexpr std::size_t block_at(std::size_t axis) { return 63 + 5 * axis; }

using Changes = std::vector<std::pair<std::size_t, Bytes>>;

// The same number of voxels along X, Y and Z.
void set_all(Changes& changes, std::size_t (*place)(std::size_t), int bytes, std::int64_t value) {
  for (std::size_t axis = 1; axis < 4; ++axis) changes.emplace_back(place(axis), big_endian(value, bytes));
}

TEST_CASE("b2nd: a header whose fields contradict each other, or are none of an array's, says so") {
  const TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({1, 30, 31, 32});
  write_b2nd(path, array, "<f4", {{1, 9, 16, 12}, {1, 4, 8, 5}});
  const Bytes whole = read_file(path);
  // 7 fields, version 0, 4 axes, then the shape.
  const std::size_t meta = whole.find(Bytes("\x97\x00\x04\x94\xd3", 5));
  REQUIRE(meta != Bytes::npos);
  const auto reason = [&](std::size_t from, const Changes& changes) {
    Bytes bytes = whole;
    for (const auto& [place, text] : changes) bytes.replace(from + place, text.size(), text);
    write_file(path, bytes);
    return reason_of([&] { open_volume(path, ""); });
  };
  CHECK(reason(0, {}).empty());

  // The frame's own fields.
  CHECK(contains(reason(0, {{26, big_endian(1, 1)}}), "expected a contiguous frame"));
  CHECK(contains(reason(0, {{25, big_endian((whole[25] & 0xf0) | 0x0f, 1)}}), "format up to"));
  CHECK(contains(reason(0, {{48, big_endian(8, 4)}}), "the size of a voxel is not that of dtype <f4"));
  CHECK(contains(reason(0, {{58, big_endian(4 * 12 * 16 * 15 + 4, 4)}}), "does not have the bytes"));
  CHECK(contains(reason(0, {{30, big_endian(4, 8)}}), "does not have the bytes"));
  CHECK(contains(reason(0, {{11, big_endian(86, 4)}}), "its length is 86"));
  CHECK(contains(reason(0, {{39, big_endian(std::ssize(whole), 8)}}), "the chunks are longer than the file"));

  // Those of the array.
  CHECK(contains(reason(meta, {{0, big_endian(0x96, 1)}}), "the 7 fields"));
  CHECK(contains(reason(meta, {{1, big_endian(1, 1)}}), "expected format version 0 of metalayer b2nd, got 1"));
  CHECK(contains(reason(meta, {{82, big_endian(1, 1)}}), "the type is not in NumPy's notation"));
  for (std::size_t axis = 0; axis < 4; ++axis) {
    CAPTURE(axis);
    for (const std::int64_t none : {std::int64_t{0}, std::int64_t{-5}, INT64_MIN})
      CHECK(
          contains(reason(meta, {{shape_at(axis), big_endian(none, 8)}}), "expected at least one voxel on every axis"));
    CHECK(contains(reason(meta, {{shape_at(axis), big_endian(INT64_MAX / 4, 8)}}), "memory can hold"));
    for (const std::int64_t wrong : {0, -1}) {
      CHECK(contains(reason(meta, {{chunk_at(axis), big_endian(wrong, 4)}}), "chunks are ("));
      CHECK(contains(reason(meta, {{block_at(axis), big_endian(wrong, 4)}}), "chunks are ("));
    }
    const std::int64_t chunk[] = {1, 9, 16, 12};
    CHECK(contains(reason(meta, {{block_at(axis), big_endian(chunk[axis] + 1, 4)}}), "chunks are ("));
  }

  // What would need more memory than any image's.
  Changes many;
  set_all(many, shape_at, 8, 4096);
  set_all(many, chunk_at, 4, 1);
  set_all(many, block_at, 4, 1);
  CHECK(contains(reason(meta, many), "expected at most 4194304 chunks"));
  Changes large;
  set_all(large, chunk_at, 4, 32768);
  set_all(large, block_at, 4, 1);
  CHECK(contains(reason(meta, large), "are too large"));
  Changes blocks;
  set_all(blocks, chunk_at, 4, 512);
  set_all(blocks, block_at, 4, 512);
  CHECK(contains(reason(meta, blocks), "expected blocks of at most 67108864 bytes, got 536870912"));
}

}  // namespace
}  // namespace fastnnunet::storage
