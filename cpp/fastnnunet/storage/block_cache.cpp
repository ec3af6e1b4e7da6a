#include "fastnnunet/storage/block_cache.h"

#include <utility>

namespace fastnnunet {

BlockCache::Block BlockCache::find(std::uint64_t key) {
  Shard& shard = shard_of(key);
  {
    const std::lock_guard lock(shard.mutex);
    if (const auto found = shard.numbers.find(key); found != shard.numbers.end()) {
      Entry& entry = shard.entries[found->second];
      entry.wanted = true;
      hits_.fetch_add(1, std::memory_order_relaxed);
      return entry.block;
    }
  }
  misses_.fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

BlockCache::Block BlockCache::room(std::uint64_t key, std::size_t bytes) {
  const std::size_t whole = bytes + kOverhead;
  if (whole > budget_of_shard_) return nullptr;
  Shard& shard = shard_of(key);
  Block reused;
  {
    const std::lock_guard lock(shard.mutex);
    if (shard.bytes + whole > budget_of_shard_ && ++shard.refused % kReplaceEvery != 0) return nullptr;
    while (shard.bytes + whole > budget_of_shard_) {
      Entry taken = evict(shard);
      if (taken.block.use_count() == 1 && taken.bytes == bytes) reused = std::move(taken.block);
    }
  }
  return reused != nullptr ? reused : Block(new std::byte[bytes]);
}

void BlockCache::keep(std::uint64_t key, Block block, std::size_t bytes) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  // Other threads may have kept the same block, or others, while this one was being decompressed.
  if (shard.bytes + bytes + kOverhead > budget_of_shard_) return;
  if (!shard.numbers.try_emplace(key, shard.entries.size()).second) return;
  shard.entries.push_back({key, bytes, std::move(block), false});
  shard.bytes += bytes + kOverhead;
}

// The hand passes the blocks that were wanted since it last came by.
BlockCache::Entry BlockCache::evict(Shard& shard) {
  for (;;) {
    if (shard.hand >= shard.entries.size()) shard.hand = 0;
    Entry& entry = shard.entries[shard.hand];
    if (!entry.wanted) break;
    entry.wanted = false;
    ++shard.hand;
  }
  Entry taken = std::move(shard.entries[shard.hand]);
  shard.numbers.erase(taken.key);
  if (shard.hand + 1 < shard.entries.size()) {
    shard.entries[shard.hand] = std::move(shard.entries.back());
    shard.numbers[shard.entries[shard.hand].key] = shard.hand;
  }
  shard.entries.pop_back();
  shard.bytes -= taken.bytes + kOverhead;
  return taken;
}

std::size_t BlockCache::memory() const {
  std::size_t total = 0;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    total += shard.bytes;
  }
  return total;
}

}  // namespace fastnnunet
