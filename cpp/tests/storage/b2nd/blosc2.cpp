// What is known to go wrong in older versions of the library that decompresses.
#include <blosc2.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "catch.h"

namespace fastnnunet::storage {
namespace {

// One chunk of one block: 32 literals, then a match whose length is 9 and 255 for each of `more` bytes, then a literal.
std::vector<std::uint8_t> chunk_of(std::size_t more, std::int32_t bytes) {
  std::vector<std::uint8_t> block = {31};
  for (std::uint8_t i = 0; i < 32; ++i) block.push_back(i);
  block.push_back(7 << 5);
  block.insert(block.end(), more, 255);
  block.insert(block.end(), {0, 1, 0, 9});
  std::vector<std::uint8_t> chunk(BLOSC_EXTENDED_HEADER_LENGTH, 0);
  chunk[BLOSC2_CHUNK_VERSION] = BLOSC2_VERSION_FORMAT_STABLE;
  chunk[BLOSC2_CHUNK_VERSIONLZ] = 1;
  chunk[BLOSC2_CHUNK_FLAGS] = BLOSC_DOSHUFFLE | BLOSC_DOBITSHUFFLE | 0x10;  // an extended header, blocks in one stream
  chunk[BLOSC2_CHUNK_TYPESIZE] = 1;
  const auto put = [&](std::size_t at, std::int32_t value) { std::memcpy(chunk.data() + at, &value, sizeof(value)); };
  const auto append = [&](std::int32_t value) {
    chunk.resize(chunk.size() + sizeof(value));
    put(chunk.size() - sizeof(value), value);
  };
  put(BLOSC2_CHUNK_NBYTES, bytes);
  put(BLOSC2_CHUNK_BLOCKSIZE, bytes);
  append(static_cast<std::int32_t>(chunk.size() + sizeof(std::int32_t)));  // where the block begins
  append(static_cast<std::int32_t>(block.size()));
  chunk.insert(chunk.end(), block.begin(), block.end());
  put(BLOSC2_CHUNK_CBYTES, static_cast<std::int32_t>(chunk.size()));
  return chunk;
}

TEST_CASE("c-blosc2: a length beyond 32 bits in BloscLZ is refused", "[storage]") {
  blosc2_dparams parameters = BLOSC2_DPARAMS_DEFAULTS;
  blosc2_context* const context = blosc2_create_dctx(parameters);
  // As it should be, so that the next chunk is refused for its length.
  const std::int32_t size = 32 + 9 + 255 * 1000 + 1;
  std::vector<std::uint8_t> out(static_cast<std::size_t>(size));
  std::vector<std::uint8_t> chunk = chunk_of(1000, size);
  CHECK(blosc2_getitem_ctx(context, chunk.data(), static_cast<std::int32_t>(chunk.size()), 0, size, out.data(), size) ==
        size);
  CHECK((out[31] == 31 && out[32] == 30 && out.back() == 9));

#if BLOSC2_VERSION_MAJOR * 10000 + BLOSC2_VERSION_MINOR * 100 + BLOSC2_VERSION_RELEASE >= 30303
  chunk = chunk_of(8421506, 1 << 24);
  out.resize(1 << 24);
  CHECK(blosc2_getitem_ctx(context, chunk.data(), static_cast<std::int32_t>(chunk.size()), 0, 1 << 24, out.data(),
                           1 << 24) < 0);
#endif
  blosc2_free_ctx(context);
}

}  // namespace
}  // namespace fastnnunet::storage
