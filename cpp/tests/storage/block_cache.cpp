#include "fastnnunet/storage/block_cache.h"

#include <atomic>
#include <cstring>
#include <thread>

#include "fastnnunet/base/platform.h"
#include "storage/files.h"

namespace fastnnunet {
namespace {

using namespace testing;

constexpr std::size_t kBytes = 1000;

// A block whose bytes all tell its number.
BlockCache::Block fill(BlockCache::Block block, std::uint64_t number) {
  if (block != nullptr) std::memset(block.get(), static_cast<int>(number & 0xFF), kBytes);
  return block;
}

// As a reader does: out of the cache, else made and kept if there is room. True where it was there.
bool use(BlockCache& cache, std::uint64_t number) {
  const std::uint64_t key = BlockCache::key(3, number);
  if (const BlockCache::Block found = cache.find(key)) {
    for (const std::size_t at : {std::size_t{0}, kBytes - 1}) CHECK(found[at] == static_cast<std::byte>(number & 0xFF));
    return true;
  }
  if (const BlockCache::Block made = fill(cache.room(key, kBytes), number)) cache.keep(key, made, kBytes);
  return false;
}

TEST_CASE("block_cache: what fits is kept, each block once") {
  BlockCache cache(1 << 20);
  for (std::uint64_t number = 0; number < 200; ++number) CHECK_FALSE(use(cache, number));
  const std::size_t memory = cache.memory();
  for (std::uint64_t number = 0; number < 200; ++number) CHECK(use(cache, number));
  CHECK(cache.memory() == memory);
  CHECK(memory >= 200 * kBytes);
  CHECK(cache.hits() == 200);
  CHECK(cache.misses() == 200);
  CHECK(cache.find(BlockCache::key(4, 0)) == nullptr);  // the same block of another file
}

TEST_CASE("block_cache: a budget of nothing keeps nothing") {
  BlockCache cache(0);
  for (int round = 0; round < 2; ++round) CHECK_FALSE(use(cache, 1));
  CHECK(cache.memory() == 0);
}

TEST_CASE("block_cache: a full one keeps its budget, and mostly what it has") {
  constexpr std::size_t kBudget = 200 * kBytes;
  BlockCache cache(kBudget);
  std::uint64_t hits = 0;
  constexpr std::uint64_t kNumbers = 500, kUses = 50000;
  std::uint64_t state = 1;
  for (std::uint64_t i = 0; i < kUses; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    hits += use(cache, (state >> 33) % kNumbers);
    if (i % 1000 == 0) CHECK(cache.memory() <= kBudget);
  }
  // Uniform use: as many hits as there are blocks in it, some 170 of 500.
  CHECK(hits > kUses * 30 / 100);
  CHECK(hits < kUses * 40 / 100);
}

TEST_CASE("block_cache: blocks that are wanted more often come in and stay") {
  BlockCache cache(200 * kBytes);
  for (std::uint64_t number = 1000; number < 1400; ++number) use(cache, number);  // full of others
  std::uint64_t state = 1, hits = 0, uses = 0;
  for (std::uint64_t i = 0; i < 60000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const bool hot = (state >> 20) % 10 < 9;
    const bool there = use(cache, hot ? (state >> 33) % 100 : 1000 + (state >> 33) % 400);
    if (hot && i > 30000) {
      ++uses;
      hits += there;
    }
  }
  CHECK(hits > uses * 9 / 10);
}

TEST_CASE("block_cache: a block that is being read outlives its entry") {
  BlockCache cache(40 * kBytes);  // two blocks for each shard
  use(cache, 7);
  const BlockCache::Block held = cache.find(BlockCache::key(3, 7));
  REQUIRE(held != nullptr);
  for (std::uint64_t i = 0; i < 20000; ++i) use(cache, 100 + i % 300);
  for (std::size_t at = 0; at < kBytes; ++at) REQUIRE(held[at] == std::byte{7});
}

TEST_CASE("block_cache: many threads at once") {
  BlockCache cache(200 * kBytes);
  std::atomic<std::uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      std::uint64_t state = thread;
      for (int i = 0; i < 5000; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const std::uint64_t number = (state >> 33) % 400, key = BlockCache::key(0, number);
        if (const BlockCache::Block found = cache.find(key))
          wrong += found[kBytes / 2] != static_cast<std::byte>(number & 0xFF);
        else if (const BlockCache::Block made = fill(cache.room(key, kBytes), number))
          cache.keep(key, made, kBytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(cache.memory() <= 200 * kBytes);
}

TEST_CASE("block_cache: a volume reads the same with it, and decompresses once") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto image = ramp<float>({2, 20, 18, 17});
  write_b2nd(path, image, "<f4", {{1, 12, 12, 12}, {1, 6, 6, 6}});
  const auto plain = open_volume(path, ""), cached = open_volume(path, "");
  BlockCache cache(1 << 20);
  cached->use_cache(&cache, 9);
  const Box boxes[] = {{{-2, 3, 1}, {9, 15, 12}}, {{0, 0, 0}, {20, 18, 17}}, {{5, 5, 5}, {6, 6, 6}}};
  std::uint64_t misses = 0, bytes = 0;
  for (int round = 0; round < 2; ++round) {
    for (const Box& box : boxes)
      for (std::int64_t channel = 0; channel < 2; ++channel) {
        std::vector<float> expected(static_cast<std::size_t>(voxels(box.shape()))), got(expected.size());
        plain->read(channel, box, expected.data(), -7.0f);
        cached->read(channel, box, got.data(), -7.0f);
        CHECK(got == expected);
      }
    if (round == 0) {
      misses = cache.misses();
      bytes = cached->bytes_read();
    }
  }
  CHECK(misses > 0);
  CHECK(cache.misses() == misses);
  CHECK(cached->bytes_read() == bytes);
  CHECK(plain->bytes_read() > bytes);
}

}  // namespace
}  // namespace fastnnunet
