// Decompressed blocks of files, shared by the threads of a loader, under a budget. It changes when something is read,
// never what is read.
//
// Cases are drawn at random, so every block of a data set is as likely to be wanted as any other, but for those around
// foreground. What is kept when the cache is full therefore stays: a new block replaces one only now and then, and then
// one that nobody has asked for lately. So a data set that fits is decompressed once, and of a larger one a constant
// part is served from memory, without the churn of forgetting what will be wanted again.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace fastnnunet {

class BlockCache {
 public:
  using Block = std::shared_ptr<std::byte[]>;

  // Bytes; 0 keeps nothing.
  explicit BlockCache(std::size_t budget) : budget_of_shard_(budget / kShards) {}

  // A block's name: which file, and which of its blocks.
  static constexpr std::uint64_t key(std::uint32_t file, std::uint64_t block) {
    return (std::uint64_t{file} << 40) ^ block;
  }

  // Null where it is not kept. What is returned stays as it is for as long as the caller refers to it.
  Block find(std::uint64_t key);
  // Memory for a block that was not found and is about to be decompressed; null where it is not to be kept.
  Block room(std::uint64_t key, std::size_t bytes);
  // Keeps what was decompressed into the memory of room().
  void keep(std::uint64_t key, Block block, std::size_t bytes);

  std::size_t memory() const;
  std::uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  std::uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kShards = 16;
  // Of the misses of a full cache, one in so many replaces a block.
  static constexpr std::uint64_t kReplaceEvery = 16;
  // Beside a block's own bytes: its entry, its node, its reference count.
  static constexpr std::size_t kOverhead = 160;

  struct Entry {
    std::uint64_t key;
    std::size_t bytes;
    Block block;
    bool wanted;  // since the hand last passed
  };
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_map<std::uint64_t, std::size_t> numbers;  // of the entries, by key
    std::vector<Entry> entries;
    std::size_t bytes = 0;
    std::size_t hand = 0;
    std::uint64_t refused = 0;
  };

  Shard& shard_of(std::uint64_t key) { return shards_[(key * 0x9E3779B97F4A7C15u) >> 60]; }
  // There must be an entry.
  static Entry evict(Shard& shard);

  std::size_t budget_of_shard_;
  std::array<Shard, kShards> shards_;
  std::atomic<std::uint64_t> hits_{0};
  std::atomic<std::uint64_t> misses_{0};
};

}  // namespace fastnnunet
