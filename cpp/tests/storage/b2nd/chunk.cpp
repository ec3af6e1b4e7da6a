// What every field of a chunk has to be. A chunk that is damaged costs its own voxels.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "process_limits.h"
#include "sanitized.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

constexpr std::size_t kHead = BLOSC_EXTENDED_HEADER_LENGTH;

std::int32_t int32_at(const Bytes& bytes, std::size_t place) {
  std::int32_t value;
  std::memcpy(&value, bytes.data() + place, sizeof(value));
  return value;
}

std::size_t big_endian_at(const Bytes& bytes, std::size_t place, int count) {
  std::size_t value = 0;
  for (int i = 0; i < count; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[place + static_cast<std::size_t>(i)]);
  return value;
}

// Three chunks of four blocks, along X.
const std::vector<std::int64_t> kShape = {1, 30, 12, 16};
const Compression kChunks = {{1, 10, 12, 16}, {1, 5, 6, 16}};
const Box kSecond = {{10, 0, 0}, {20, 12, 16}};

// A file of these, and where its chunks are.
struct Chunks {
  explicit Chunks(const std::filesystem::path& file) : bytes(read_file(file)) {
    begin.push_back(big_endian_at(bytes, 11, 4));
    for (int i = 0; i < 2; ++i)
      begin.push_back(begin.back() + static_cast<std::size_t>(int32_at(bytes, begin.back() + BLOSC2_CHUNK_CBYTES)));
    index = begin[0] + big_endian_at(bytes, 39, 8);
  }
  Bytes bytes;
  std::vector<std::size_t> begin;
  std::size_t index;
};

// The reason for which the second chunk cannot be read; the others can, before and after.
std::string reason_of_second(const std::filesystem::path& path, const Array<float>& array, const Bytes& bytes) {
  write_file(path, bytes);
  const auto volume = open_volume(path, "");
  const auto others = [&] {
    return box_is_right<float>(*volume, array, 0, {{0, 0, 0}, {10, 12, 16}}) &&
           box_is_right<float>(*volume, array, 0, {{20, 0, 0}, {30, 12, 16}});
  };
  CHECK(others());
  std::vector<float> out(10 * 12 * 16);
  const std::string reason = reason_of([&] { volume->read(0, kSecond, out.data(), 0.0f); });
  CHECK(others());
  // Whatever was read last.
  CHECK(box_is_right<float>(*volume, array, 0, {{20, 0, 0}, {30, 12, 16}}));
  CHECK(reason_of([&] { volume->read(0, kSecond, out.data(), 0.0f); }) == reason);
  CHECK(box_is_right<float>(*volume, array, 0, {{20, 0, 0}, {30, 12, 16}}));
  return reason;
}

TEST_CASE("b2nd: of a damaged chunk the reason is said, and the others are read") {
  const TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>(kShape);
  write_b2nd(path, array, "<f4", kChunks);
  const Chunks whole(path);
  const std::size_t second = whole.begin[1];
  const auto byte = [&](std::size_t place) { return static_cast<unsigned char>(whole.bytes[second + place]); };
  const std::int32_t size = int32_at(whole.bytes, second + BLOSC2_CHUNK_CBYTES);
  REQUIRE((byte(BLOSC2_CHUNK_FLAGS) & BLOSC_MEMCPYED) == 0);
  REQUIRE(int32_at(whole.bytes, second + BLOSC2_CHUNK_BLOCKSIZE) == 5 * 6 * 16 * 4);

  const auto check = [&](std::size_t place, const Bytes& text, const std::string& expected) {
    CAPTURE(place, expected);
    Bytes bytes = whole.bytes;
    bytes.replace(second + place, text.size(), text);
    CHECK(reason_of_second(path, array, bytes) == "damaged data in chunk 1: " + expected);
  };
  const auto one = [](unsigned value) { return Bytes(1, static_cast<char>(value)); };
  CHECK(reason_of_second(path, array, whole.bytes).empty());
  check(BLOSC2_CHUNK_FLAGS, one(byte(BLOSC2_CHUNK_FLAGS) & ~unsigned{BLOSC_DOSHUFFLE}), "it has no header of blosc2");
  check(BLOSC2_CHUNK_FLAGS, one((byte(BLOSC2_CHUNK_FLAGS) & 0x1fu) | 6u << 5),
        "expected codec BloscLZ, LZ4, Zlib or Zstd, got number 6");
  check(BLOSC2_CHUNK_TYPESIZE, one(8), "its voxels have the wrong size");
  check(BLOSC2_CHUNK_NBYTES, number_bytes(10 * 12 * 16 * 4 - 4, 4), "its size is not that of the others");
  check(BLOSC2_CHUNK_BLOCKSIZE, number_bytes(5 * 6 * 8 * 4, 4), "its blocks are not those of the others");
  for (const std::uint64_t wrong : {std::uint64_t{kHead - 1}, std::uint64_t{0xffffffff}, std::uint64_t{1} << 30})
    check(BLOSC2_CHUNK_CBYTES, number_bytes(wrong, 4), "its compressed size is wrong");
  check(BLOSC2_CHUNK_CBYTES, number_bytes(kHead + 4, 4), "its blocks do not fit");
  for (int filter = 0; filter < BLOSC2_MAX_FILTERS; ++filter)
    check(BLOSC2_CHUNK_FILTER_CODES + static_cast<std::size_t>(filter), one(BLOSC_DELTA),
          "expected filters shuffle, bitshuffle or trunc_prec, got number 3");
  check(BLOSC2_CHUNK_BLOSC2_FLAGS2, one(1), "its flags are wrong");  // blocks of variable length
  check(BLOSC2_CHUNK_BLOSC2_FLAGS, one(byte(BLOSC2_CHUNK_BLOSC2_FLAGS) | 0x08u), "its flags are wrong");
  check(BLOSC2_CHUNK_BLOSC2_FLAGS, one(byte(BLOSC2_CHUNK_BLOSC2_FLAGS) | BLOSC2_INSTR_CODEC), "its flags are wrong");
  check(BLOSC2_CHUNK_BLOSC2_FLAGS, one(byte(BLOSC2_CHUNK_BLOSC2_FLAGS) | BLOSC2_USEDICT),
        "expected compression without a dictionary");
  check(BLOSC2_CHUNK_BLOSC2_FLAGS, one(5u << 4), "its special value is unknown");
  check(BLOSC2_CHUNK_BLOSC2_FLAGS, one(unsigned{BLOSC2_SPECIAL_VALUE} << 4), "its repeated value has the wrong size");
  for (std::size_t block = 0; block < 4; ++block)
    for (const std::int32_t wrong : {0, static_cast<std::int32_t>(kHead + 15), size, -1})
      check(kHead + 4 * block, number_bytes(static_cast<std::uint32_t>(wrong), 4), "a block lies outside of it");
}

TEST_CASE("b2nd: a chunk that is not compressed has the size of its voxels") {
  const TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>(kShape);
  Compression compression = kChunks;
  compression.level = 0;
  write_b2nd(path, array, "<f4", compression);
  const Chunks whole(path);
  const std::size_t second = whole.begin[1];
  REQUIRE((whole.bytes[second + BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) != 0);
  for (const int more : {-4, 4}) {
    Bytes bytes = whole.bytes;
    bytes.replace(second + BLOSC2_CHUNK_CBYTES, 4,
                  number_bytes(static_cast<std::uint64_t>(int32_at(bytes, second + BLOSC2_CHUNK_CBYTES) + more), 4));
    CHECK(reason_of_second(path, array, bytes) == "damaged data in chunk 1: its compressed size is wrong");
  }
}

TEST_CASE("b2nd: a place of a chunk that is none") {
  const TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>(kShape);
  write_b2nd(path, array, "<f4", kChunks);
  const Chunks whole(path);
  REQUIRE((whole.bytes[whole.index + BLOSC2_CHUNK_FLAGS] & BLOSC_MEMCPYED) != 0);
  REQUIRE(whole.bytes.substr(whole.index + kHead + 8, 8) == number_bytes(whole.begin[1] - whole.begin[0], 8));
  const auto check = [&](std::uint64_t place, const std::string& expected) {
    Bytes bytes = whole.bytes;
    bytes.replace(whole.index + kHead + 8, 8, number_bytes(place, 8));
    CHECK(reason_of_second(path, array, bytes) == "damaged data in chunk 1: " + expected);
  };
  // Closer to the end than a header, behind it, far away; and of a special value that there is not.
  for (const std::uint64_t place :
       {whole.index - whole.begin[0] - 8, whole.index - whole.begin[0] + 1, std::size_t{1} << 60})
    check(place, "it lies outside the file");
  check(std::uint64_t{0x85} << 56, "its special value is unknown");
}

TEST_CASE("b2nd: blocks lie in a chunk in the order in which threads came to write them") {
  const TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>(kShape);
  write_b2nd(path, array, "<f4", kChunks);
  const Chunks whole(path);
  Bytes bytes = whole.bytes;
  for (const std::size_t chunk : whole.begin) {
    std::vector<std::int32_t> begin;
    for (std::size_t block = 0; block < 4; ++block) begin.push_back(int32_at(bytes, chunk + kHead + 4 * block));
    begin.push_back(int32_at(bytes, chunk + BLOSC2_CHUNK_CBYTES));
    Bytes blocks;
    for (std::size_t block = 4; block-- > 0;) {
      const auto from = static_cast<std::size_t>(begin[block]), to = static_cast<std::size_t>(begin[block + 1]);
      bytes.replace(chunk + kHead + 4 * block, 4, number_bytes(kHead + 16 + blocks.size(), 4));
      blocks += whole.bytes.substr(chunk + from, to - from);
    }
    bytes.replace(chunk + kHead + 16, blocks.size(), blocks);
  }
  REQUIRE(bytes != whole.bytes);
  write_file(path, bytes);
  check_volume(*open_volume(path, ""), array);
}

#if defined(__linux__) && !defined(FASTNNUNET_SANITIZED)

TEST_CASE("b2nd: where there is no memory to decompress a block, that is none of the file's") {
  const TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({1, 1, 1024, 4096});
  write_b2nd(path, array, "<f4", {{1, 1, 1024, 4096}, {1, 1, 1024, 4096}});
  const auto volume = open_volume(path, "");
  const Box all = Box::of_shape(volume->shape());
  std::vector<float> out(1024 * 4096);
  {
    // c-blosc2 takes several times the block.
    const Limit little(RLIMIT_AS, address_space_used() + out.size() * sizeof(float));
    CHECK_THROWS_AS(volume->read(0, all, out.data(), 0.0f), ResourceError);
  }
  CHECK(box_is_right<float>(*volume, array, 0, all));
}

#endif

}  // namespace
}  // namespace fastnnunet::storage
