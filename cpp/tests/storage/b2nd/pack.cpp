#include "fastnnunet/storage/b2nd/pack.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/volume.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

std::vector<float> ramp(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 977) * 0.37f;
  return values;
}

Packed pack(const std::vector<float>& values, const PackLayout& layout, const PackOptions& options) {
  return pack_b2nd("case.b2nd", reinterpret_cast<const std::byte*>(values.data()), Element::float32, layout, options);
}

std::string bytes_of(const Packed& packed) { return {reinterpret_cast<const char*>(packed.data()), packed.size()}; }

TEST_CASE("storage: what is packed is read as it was", "[storage]") {
  const testing::TemporaryFolder folder;
  // Chunks and blocks that fit, that are padded, and one of each.
  const std::vector<PackLayout> layouts = {
      {{2, 16, 16, 16}, {1, 16, 8, 16}, {1, 8, 8, 8}},
      {{2, 17, 11, 23}, {1, 8, 7, 16}, {1, 5, 4, 7}},
      {{1, 5, 6, 7}, {1, 5, 6, 7}, {1, 5, 6, 7}},
      {{1, 1, 30, 31}, {1, 1, 16, 16}, {1, 1, 8, 16}},
  };
  for (const PackLayout& layout : layouts) {
    const Index4& s = layout.shape;
    const std::vector<float> values = ramp(static_cast<std::size_t>(s[0] * s[1] * s[2] * s[3]));
    for (const bool shuffle : {false, true})
      for (const int threads : {1, 3}) {
        const auto file = folder / "case.b2nd";
        {
          const Packed packed = pack(values, layout, {2, 5, shuffle, threads});
          std::ofstream(file, std::ios::binary)
              .write(reinterpret_cast<const char*>(packed.data()), static_cast<std::streamsize>(packed.size()));
        }
        const std::unique_ptr<Volume> volume = open_volume(file, "data");
        REQUIRE(volume->channels() == s[0]);
        REQUIRE(volume->shape() == Index3{s[1], s[2], s[3]});
        std::vector<float> read(values.size());
        volume->read_channels({{0, 0, 0}, volume->shape()}, read.data(), 0.0f);
        CHECK(read == values);
      }
  }
}

TEST_CASE("storage: the number of threads does not change what is packed", "[storage]") {
  const PackLayout layout{{1, 40, 40, 40}, {1, 16, 16, 16}, {1, 8, 8, 8}};
  const std::vector<float> values = ramp(64000);
  const Packed one = pack(values, layout, {2, 5, true, 1}), three = pack(values, layout, {2, 5, true, 3});
  CHECK(bytes_of(one) == bytes_of(three));
}

// What nnU-Net does: a slab of at most a chunk in the middle is packed both ways.
bool slab_is_smaller_shuffled(const std::vector<float>& values, const PackLayout& layout) {
  PackLayout slab;
  Index4 origin;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    slab.shape[axis] = slab.chunk[axis] = std::min(layout.chunk[axis], layout.shape[axis]);
    slab.block[axis] = std::min(layout.block[axis], slab.chunk[axis]);
    origin[axis] = (layout.shape[axis] - slab.chunk[axis]) / 2;
  }
  std::vector<float> middle;
  const Index4 &s = layout.shape, &o = origin, &n = slab.shape;
  for (std::int64_t c = o[0]; c < o[0] + n[0]; ++c)
    for (std::int64_t x = o[1]; x < o[1] + n[1]; ++x)
      for (std::int64_t y = o[2]; y < o[2] + n[2]; ++y)
        for (std::int64_t z = o[3]; z < o[3] + n[3]; ++z)
          middle.push_back(values[static_cast<std::size_t>(((c * s[1] + x) * s[2] + y) * s[3] + z)]);
  return pack(middle, slab, {2, 5, true, 1}).size() < pack(middle, slab, {2, 5, false, 1}).size();
}

TEST_CASE("storage: bytes are shuffled where a slab in the middle is smaller then", "[storage]") {
  // One chunk, which is the slab; three, of which the middle one is; two and a half, of which none is; one with
  // padding.
  const std::vector<PackLayout> layouts = {
      {{1, 32, 32, 32}, {1, 32, 32, 32}, {1, 16, 16, 16}},
      {{1, 48, 32, 32}, {1, 16, 32, 32}, {1, 16, 16, 16}},
      {{2, 40, 32, 32}, {1, 16, 32, 32}, {1, 16, 16, 16}},
      {{1, 31, 30, 29}, {1, 32, 32, 32}, {1, 16, 16, 16}},
  };
  for (const PackLayout& layout : layouts) {
    const Index4& s = layout.shape;
    const auto count = static_cast<std::size_t>(s[0] * s[1] * s[2] * s[3]);
    std::mt19937 engine(7);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> smooth(count), constant(count, 2.0f), few(count), edges(count), noise(count), words(count);
    for (std::size_t i = 0; i < count; ++i) {
      smooth[i] = 100.0f + 0.001f * static_cast<float>(i);
      few[i] = static_cast<float>(i * 2654435761u % 7919 % 30) * 0.37f;
      noise[i] = normal(engine);
      words[i] = std::bit_cast<float>(i % 10 < 7 ? static_cast<std::uint32_t>(engine()) : 0x5a3c1e77u);
      edges[i] = i > count / 3 && i < count - count / 3 ? few[i] : smooth[i];
    }
    int shuffled = 0;
    for (const std::vector<float>& values : {smooth, constant, few, edges, noise, words}) {
      const bool shuffle = slab_is_smaller_shuffled(values, layout);
      shuffled += shuffle ? 1 : 0;
      for (const int threads : {1, 2}) {
        const auto* data = reinterpret_cast<const std::byte*>(values.data());
        const Packed found = pack_smaller("x", data, Element::float32, layout, {2, 5, !shuffle, threads});
        const bool same = bytes_of(found) == bytes_of(pack(values, layout, {2, 5, shuffle, 1}));
        CHECK(same);
      }
    }
    CHECK(shuffled > 0);
    CHECK(shuffled < 6);  // constant: both are equal, and nnU-Net takes none
  }
}

TEST_CASE("storage: layouts that cannot be are told", "[storage]") {
  const std::vector<float> values = ramp(64);
  CHECK_THROWS_AS(pack(values, {{1, 4, 4, 4}, {1, 4, 4, 4}, {1, 8, 4, 4}}, {}), InvalidArgument);
  CHECK_THROWS_AS(pack(values, {{1, 4, 4, 4}, {1, 4, 4, 4}, {1, 0, 4, 4}}, {}), InvalidArgument);
  CHECK_THROWS_AS(pack(values, {{1, 4, 0, 4}, {1, 4, 4, 4}, {1, 4, 4, 4}}, {}), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::storage
