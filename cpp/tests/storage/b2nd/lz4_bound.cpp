#include "fastnnunet/storage/b2nd/lz4_bound.h"

#include <blosc2.h>

#include <cstdint>
#include <random>
#include <vector>

#include "catch.h"

namespace fastnnunet::storage {
namespace {

using Values = std::vector<float>;

// Bytes that c-blosc2 makes of a chunk, without its header and the places of its blocks.
std::int64_t compressed(const Values& values, std::int64_t block, int codec) {
  blosc2_cparams parameters = BLOSC2_CPARAMS_DEFAULTS;
  parameters.typesize = 4;
  parameters.compcode = static_cast<std::uint8_t>(codec);
  parameters.clevel = 9;
  parameters.blocksize = static_cast<std::int32_t>(block);
  parameters.filters[BLOSC2_MAX_FILTERS - 1] = BLOSC_NOFILTER;
  blosc2_context* context = blosc2_create_cctx(parameters);
  const auto size = static_cast<std::int32_t>(values.size() * 4);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(size) + BLOSC2_MAX_OVERHEAD);
  const int made = blosc2_compress_ctx(context, values.data(), size, out.data(), static_cast<std::int32_t>(out.size()));
  blosc2_free_ctx(context);
  REQUIRE(made > 0);
  return made;
}

TEST_CASE("storage: LZ4 never takes less than what is said to be the least", "[storage]") {
  std::mt19937 engine(11);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  constexpr std::size_t kCount = 1 << 16;
  constexpr std::int64_t kBytes = std::int64_t{4} << 16;
  Values noise(kCount), rounded(kCount), parts(kCount), constant(kCount, 3.0f), repeated(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    noise[i] = normal(engine);
    rounded[i] = static_cast<float>(static_cast<int>(noise[i] * 20.0f));
    parts[i] = i % 512 < 200 ? 0.0f : noise[i];
    repeated[i] = noise[i % 3000];
  }
  for (const Values& values : {noise, rounded, parts, constant, repeated})
    for (const std::int64_t block : {std::int64_t{4096}, std::int64_t{32768}, std::int64_t{131072}})
      for (const int codec : {BLOSC_LZ4, BLOSC_LZ4HC}) {
        const std::int64_t made = compressed(values, block, codec);
        const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
        CHECK(least_lz4_bytes(bytes, kBytes, block) <= made);
      }
  // And it is close where it matters: noise is nine tenths literals.
  CHECK(least_lz4_bytes(reinterpret_cast<const std::byte*>(noise.data()), kBytes, 131072) > kBytes * 9 / 10);
  CHECK(least_lz4_bytes(reinterpret_cast<const std::byte*>(constant.data()), kBytes, 131072) == 0);
  CHECK(least_lz4_bytes(nullptr, 0, 131072) == 0);
}

}  // namespace
}  // namespace fastnnunet::storage
