#include <blosc2.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>

#include "fastnnunet/storage/formats.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

const Compression kSmall = {{1, 9, 16, 12}, {1, 4, 8, 5}};

TEST_CASE("b2nd: every box of an image with the chunks and blocks that nnU-Net chooses") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({2, 101, 97, 89});
  write_b2nd(path, array, "<f4", {{1, 96, 80, 64}, {1, 32, 32, 32}});
  const auto volume = open_b2nd(path);
  check_volume(*volume, array);
  CHECK(volume->bytes_read() > 0);
  CHECK(volume->memory() < 2'000'000);
}

TEST_CASE("b2nd: blocks that hold all channels, as older preprocessing wrote them") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({3, 20, 33, 18});
  write_b2nd(path, array, "<f4", {{3, 12, 20, 17}, {3, 5, 8, 6}});
  const auto volume = open_volume(path, "");
  check_volume(*volume, array);
  // Blocks that span Y and Z: their voxels lie together in a box, but not their channels.
  write_b2nd(path, array, "<f4", {{3, 20, 33, 18}, {3, 5, 33, 18}});
  check_volume(*open_volume(path, ""), array);
}

TEST_CASE("b2nd: a previous stage's segmentation has no channel axis") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<std::int8_t>({13, 21, 17});
  write_b2nd(path, array, "|i1", {{13, 10, 9}, {4, 10, 4}});
  const auto volume = open_volume(path, "");
  check_volume(*volume, array);
}

TEST_CASE("b2nd: a 2D image whose blocks decompress straight into the box") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({1, 1, 64, 96});
  write_b2nd(path, array, "<f4", {{1, 1, 64, 96}, {1, 1, 16, 96}});
  const auto volume = open_volume(path, "");
  const std::size_t before = volume->memory();
  CHECK(box_is_right<float>(*volume, array, 0, Box::of_shape({1, 64, 96})));
  // What was copied from the file, a few numbers for each block, four temporaries inside c-blosc2, and no block of our
  // own.
  CHECK(volume->memory() <= before + std::filesystem::file_size(path) + 4 * 64 + 4 * 16 * 96 * sizeof(float));
  CHECK(volume->memory() >= before + volume->bytes_read() + 4 * 16 * 96 * sizeof(float));
  check_volume(*volume, array);
}

TEST_CASE("b2nd: of a chunk, the blocks that a box touches are read") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  auto array = ramp<float>({1, 64, 64, 64});
  std::mt19937 numbers(1);  // so that a block compresses to little less than it has
  for (float& value : array.values) value = static_cast<float>(numbers());
  for (const int level : {0, 5}) {
    CAPTURE(level);
    Compression compression = {{1, 64, 64, 64}, {1, 16, 16, 64}};
    compression.level = level;
    write_b2nd(path, array, "<f4", compression);
    const auto volume = open_volume(path, "");
    const std::uint64_t block = 16 * 16 * 64 * sizeof(float), before = volume->bytes_read();
    CHECK(box_is_right<float>(*volume, array, 0, {{20, 20, 20}, {30, 30, 30}}));
    CHECK(volume->bytes_read() - before <= block + block / 4);
    CHECK(volume->bytes_read() - before >= block / 2);
    // Blocks that lie apart by more than a short gap, and two that lie side by side.
    CHECK(box_is_right<float>(*volume, array, 0, {{10, 20, 20}, {20, 40, 30}}));
    CHECK(volume->bytes_read() - before <= 6 * block);
  }
}

TEST_CASE("b2nd: codecs, filters and levels") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({2, 19, 23, 29});
  for (const int codec : {BLOSC_BLOSCLZ, BLOSC_LZ4, BLOSC_LZ4HC, BLOSC_ZLIB, BLOSC_ZSTD}) {
    for (const int filter : {BLOSC_NOFILTER, BLOSC_SHUFFLE, BLOSC_BITSHUFFLE}) {
      for (const int level : {0, 1, 9}) {
        CAPTURE(codec, filter, level);
        Compression compression = kSmall;
        compression.codec = codec;
        compression.filter = filter;
        compression.level = level;
        write_b2nd(path, array, "<f4", compression);
        const auto volume = open_volume(path, "");
        CHECK(box_is_right<float>(*volume, array, 0, Box::of_shape(array.extent())));
        CHECK(box_is_right<float>(*volume, array, 1, {{3, 5, 7}, {17, 20, 40}}));
      }
    }
  }
}

// An older c-blosc2 is in builds for Python 3.10.
TEST_CASE("b2nd: a large chunk in BloscLZ is read, or refused where c-blosc2 could write out of bounds") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  auto array = ramp<float>({1, 200, 128, 128});
  // Three of four bytes are random.
  std::uint32_t state = 1;
  for (float& value : array.values) {
    state = state * 1664525u + 1013904223u;
    value = std::bit_cast<float>(0x3f000000u | state >> 9);
  }
  Compression compression = {{1, 200, 128, 128}, {1, 50, 128, 128}};
  compression.codec = BLOSC_BLOSCLZ;
  compression.level = 9;
  write_b2nd(path, array, "<f4", compression);
  REQUIRE(std::filesystem::file_size(path) > 8 << 20);
  REQUIRE(std::filesystem::file_size(path) < array.values.size() * 4);
  const auto volume = open_volume(path, "");
  std::vector<float> out(array.values.size());
  const std::string reason = reason_of([&] { volume->read(0, {{0, 0, 0}, {200, 128, 128}}, out.data(), 0.0f); });
  if (BLOSC2_VERSION_MAJOR * 10000 + BLOSC2_VERSION_MINOR * 100 + BLOSC2_VERSION_RELEASE < 30303) {
    CHECK(reason.find("expected at most 8 MiB in BloscLZ, got") != std::string::npos);
  } else {
    CHECK(reason.empty());
    CHECK(out == array.values);
  }
}

TEST_CASE("b2nd: bits that were cut off do not come back, those that were kept do") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  auto array = ramp<float>({1, 19, 23, 29});
  Compression compression = kSmall;
  compression.filter = BLOSC_TRUNC_PREC;
  compression.filter_meta = 7;  // bits of the mantissa, enough for the ramp's whole numbers
  write_b2nd(path, array, "<f4", compression);
  check_volume(*open_volume(path, ""), array);
  auto finer = array;
  for (float& value : finer.values) value += value >= 64.0f ? 0.25f : 0.0f;
  write_b2nd(path, finer, "<f4", compression);
  check_volume(*open_volume(path, ""), array);
}

template <typename T>
void check_type(const std::string& dtype) {
  CAPTURE(dtype);
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<T>({2, 11, 19, 14});
  write_b2nd(path, array, dtype, kSmall);
  const auto volume = open_volume(path, "");
  check_volume(*volume, array);
}

TEST_CASE("b2nd: types of voxels") {
  check_type<float>("<f4");
  check_type<double>("<f8");
  check_type<std::int8_t>("|i1");
  check_type<std::uint8_t>("|u1");
  check_type<std::int16_t>("<i2");
  check_type<std::uint16_t>("<u2");
  check_type<std::int32_t>("<i4");
  check_type<std::uint32_t>("<u4");
  check_type<std::int64_t>("<i8");
  check_type<std::uint64_t>("<u8");
}

TEST_CASE("b2nd: chunks that are one value throughout") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const std::vector<std::int64_t> shape = {2, 20, 21, 22};
  Array<float> array{shape, std::vector<float>(2 * 20 * 21 * 22, 0.0f)};
  SECTION("zeros") {
    BloscWriter writer(path, shape, "<f4", 4, kSmall);
    BloscWriter::require(b2nd_zeros(writer.context(), &writer.array));
    check_volume(*open_volume(path, ""), array);
  }
  SECTION("not initialised, which reads as zeros") {
    BloscWriter writer(path, shape, "<f4", 4, kSmall);
    BloscWriter::require(b2nd_uninit(writer.context(), &writer.array));
    check_volume(*open_volume(path, ""), array);
  }
  SECTION("any value") {
    BloscWriter writer(path, shape, "<f4", 4, kSmall);
    const float value = 3.0f;
    BloscWriter::require(b2nd_full(writer.context(), &writer.array, &value));
    std::fill(array.values.begin(), array.values.end(), value);
    check_volume(*open_volume(path, ""), array);
  }
  SECTION("not a number") {
    BloscWriter writer(path, shape, "<f4", 4, kSmall);
    BloscWriter::require(b2nd_nans(writer.context(), &writer.array));
    const auto volume = open_volume(path, "");
    std::vector<float> out(8, 1.0f);
    volume->read(1, {{1, 1, 1}, {3, 3, 3}}, out.data(), 0.0f);
    for (const float value : out) CHECK(std::isnan(value));
  }
  SECTION("not a number, of float64") {
    BloscWriter writer(path, shape, "<f8", 8, kSmall);
    BloscWriter::require(b2nd_nans(writer.context(), &writer.array));
    const auto volume = open_volume(path, "");
    std::vector<float> out(8, 1.0f);
    volume->read(1, {{1, 1, 1}, {3, 3, 3}}, out.data(), 0.0f);
    for (const float value : out) CHECK(std::isnan(value));
  }
  SECTION("some of an image, as in the background of a segmentation") {
    for (std::int64_t i = 0; i < 5000; ++i) array.values[static_cast<std::size_t>(i)] = static_cast<float>(i % 7);
    write_b2nd(path, array, "<f4", kSmall);
    check_volume(*open_volume(path, ""), array);
  }
}

TEST_CASE("b2nd: agrees with c-blosc2's own reader on random shapes") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  std::uint32_t state = 12345;
  const auto draw = [&state](int low, int high) {
    state = state * 1664525u + 1013904223u;
    return low + static_cast<int>((state >> 8) % static_cast<std::uint32_t>(high - low + 1));
  };
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<std::int64_t> shape;
    Compression compression;
    for (int axis = 0; axis < 4; ++axis) {
      shape.push_back(draw(1, axis == 0 ? 3 : 40));
      compression.chunks.push_back(draw(1, static_cast<int>(shape.back())));
      compression.blocks.push_back(draw(1, compression.chunks.back()));
    }
    const auto array = ramp<float>(shape);
    write_b2nd(path, array, "<f4", compression);
    b2nd_array_t* theirs = nullptr;
    BloscWriter::require(b2nd_open(path.string().c_str(), &theirs));
    const auto volume = open_volume(path, "");
    Box box;
    std::int64_t start[4];
    std::int64_t stop[4];
    std::int64_t sizes[4] = {1, 0, 0, 0};
    start[0] = draw(0, static_cast<int>(shape[0]) - 1);
    stop[0] = start[0] + 1;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      box.lower[axis] = start[axis + 1] = draw(0, static_cast<int>(shape[axis + 1]) - 1);
      box.upper[axis] = stop[axis + 1] = draw(static_cast<int>(box.lower[axis]) + 1, static_cast<int>(shape[axis + 1]));
      sizes[axis + 1] = stop[axis + 1] - start[axis + 1];
    }
    const auto count = static_cast<std::size_t>(voxels(box.shape()));
    std::vector<float> expected(count);
    std::vector<float> got(count);
    BloscWriter::require(b2nd_get_slice_cbuffer(theirs, start, stop, expected.data(), sizes,
                                                static_cast<std::int64_t>(count * sizeof(float))));
    b2nd_free(theirs);
    volume->read(start[0], box, got.data(), -1.0f);
    CAPTURE(trial, shape, compression.chunks, compression.blocks);
    CHECK(got == expected);
  }
}

TEST_CASE("b2nd: what an array cannot be is said") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto opened = [&path] { open_volume(path, ""); };
  SECTION("type") {
    write_b2nd(path, ramp<std::int64_t>({1, 4, 4, 4}), "<c8", {{1, 4, 4, 4}, {1, 4, 4, 4}});
    CHECK(contains(reason_of(opened), "got dtype '<c8'"));
  }
  SECTION("byte order") {
    write_b2nd(path, ramp<float>({1, 4, 4, 4}), ">f4", {{1, 4, 4, 4}, {1, 4, 4, 4}});
    CHECK(contains(reason_of(opened), "got dtype '>f4'"));
  }
  SECTION("axes") {
    write_b2nd(path, Array<float>{{8, 8}, std::vector<float>(64)}, "<f4", {{4, 8}, {4, 4}});
    CHECK(contains(reason_of(opened), "got shape (8, 8)"));
  }
  SECTION("no voxels") {
    {
      BloscWriter writer(path, {1, 0, 4, 4}, "<f4", 4, {{1, 1, 4, 4}, {1, 1, 4, 4}});
      BloscWriter::require(b2nd_zeros(writer.context(), &writer.array));
    }
    CHECK(contains(reason_of(opened), "got shape (1, 0, 4, 4)"));
  }
  SECTION("a filter that needs the whole chunk") {
    Compression compression = kSmall;
    compression.filter = BLOSC_DELTA;
    const auto array = ramp<float>({1, 20, 20, 20});
    write_b2nd(path, array, "<f4", compression);
    const auto volume = open_volume(path, "");
    std::vector<float> out(8);
    CHECK(contains(reason_of([&] { volume->read(0, {{0, 0, 0}, {2, 2, 2}}, out.data(), 0.0f); }), "got number 3"));
  }
  SECTION("another file") {
    write_file(path, Bytes(1000, 'x'));
    CHECK(contains(reason_of(opened), "is not a .b2nd file"));
  }
  SECTION("empty file") {
    write_file(path, "");
    CHECK(contains(reason_of(opened), "truncated"));
  }
  SECTION("no file") { CHECK(contains(reason_of(opened), "cannot be opened")); }
  SECTION("folder") {
    std::filesystem::create_directory(path);
    CHECK(contains(reason_of(opened), "is a directory"));
  }
}

TEST_CASE("b2nd: a truncated file says what it should have and what it has") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  write_b2nd(path, ramp<float>({1, 30, 31, 32}), "<f4", kSmall);
  const Bytes whole = read_file(path);
  for (const std::size_t size : {whole.size() - 1, whole.size() / 2, std::size_t{200}}) {
    write_file(path, whole.substr(0, size));
    CHECK(reason_of([&] { open_volume(path, ""); }) == "file is truncated: header says " +
                                                           std::to_string(whole.size()) + " bytes, file has " +
                                                           std::to_string(size));
  }
}

TEST_CASE("A file that is cut, replaced or removed while it is open is an error and not a crash") {
  TemporaryFolder folder;
  const auto array = ramp<float>({1, 60, 61, 62});
  for (const std::string name : {"case.b2nd", "case.npy", "case.npz"}) {
    CAPTURE(name);
    const auto path = folder / name;
    const auto write = [&] {
      if (name == "case.b2nd") write_b2nd(path, array, "<f4", kSmall);
      if (name == "case.npy") write_file(path, npy_bytes(array, "<f4"));
      if (name == "case.npz") write_file(path, zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, true, false));
    };
    std::vector<float> out(voxels(array.extent()));
    write();
    auto volume = open_volume(path, "data");
    const auto read = [&] { volume->read(0, Box::of_shape(array.extent()), out.data(), 0.0f); };
    CHECK(reason_of(read).empty());
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    CHECK(contains(reason_of(read), "file is truncated"));

    write();
    volume = open_volume(path, "data");
    CHECK(reason_of(read).empty());
    std::filesystem::rename(path, folder / "old");
    CHECK(contains(reason_of(read), "file is gone"));
    write();
    CHECK(contains(reason_of(read), "file was replaced"));
  }
}

TEST_CASE("A channel that is not there and a box turned inside out are refused") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  write_b2nd(path, ramp<float>({2, 5, 6, 7}), "<f4", {{1, 5, 6, 7}, {1, 5, 6, 7}});
  const auto volume = open_volume(path, "");
  std::vector<float> out(210);
  const Box all = Box::of_shape({5, 6, 7});
  CHECK_THROWS_AS(volume->read(2, all, out.data(), 0.0f), InvalidArgument);
  CHECK_THROWS_AS(volume->read(-1, all, out.data(), 0.0f), InvalidArgument);
  CHECK_THROWS_AS(volume->read(0, Box{{4, 0, 0}, {3, 6, 7}}, out.data(), 0.0f), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::storage
