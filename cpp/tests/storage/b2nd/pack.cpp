#include "fastnnunet/storage/b2nd/pack.h"

#include <cstdint>
#include <fstream>
#include <memory>
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
  CHECK(std::string(reinterpret_cast<const char*>(one.data()), one.size()) ==
        std::string(reinterpret_cast<const char*>(three.data()), three.size()));
}

TEST_CASE("storage: bytes are shuffled where that is smaller", "[storage]") {
  const PackLayout layout{{1, 32, 32, 32}, {1, 32, 32, 32}, {1, 16, 16, 16}};
  std::vector<float> smooth(32768), constant(32768, 2.0f);
  for (std::size_t i = 0; i < smooth.size(); ++i) smooth[i] = 100.0f + 0.001f * static_cast<float>(i);
  const auto smaller = [&](const std::vector<float>& values) {
    return shuffled_is_smaller("x", reinterpret_cast<const std::byte*>(values.data()), Element::float32, layout, {});
  };
  CHECK(smaller(smooth));
  CHECK_FALSE(smaller(constant));  // equal: nnU-Net then takes none
}

TEST_CASE("storage: layouts that cannot be are told", "[storage]") {
  const std::vector<float> values = ramp(64);
  CHECK_THROWS_AS(pack(values, {{1, 4, 4, 4}, {1, 4, 4, 4}, {1, 8, 4, 4}}, {}), InvalidArgument);
  CHECK_THROWS_AS(pack(values, {{1, 4, 4, 4}, {1, 4, 4, 4}, {1, 0, 4, 4}}, {}), InvalidArgument);
  CHECK_THROWS_AS(pack(values, {{1, 4, 0, 4}, {1, 4, 4, 4}, {1, 4, 4, 4}}, {}), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::storage
