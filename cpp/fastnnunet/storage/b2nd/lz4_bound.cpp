#include "fastnnunet/storage/b2nd/lz4_bound.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace fastnnunet::storage {

namespace {

constexpr std::int64_t kShortestMatch = 4;  // of LZ4
constexpr std::int64_t kMatchBytes = 3;     // a token and an offset
constexpr std::int64_t kSmallBlock = 32;    // a whole chunk of zeros may take fewer bytes than its smaller blocks
constexpr int kBits = 22;                   // of a hash: few different words of a block share one

// Which words of four bytes a block has had. It may say yes to one that it has not had, but never no to one that it
// has.
class Words {
 public:
  Words() : bits_(std::size_t{1} << (kBits - 6)) {}
  void clear() { std::fill(bits_.begin(), bits_.end(), 0); }
  bool add(std::uint32_t word) {
    const std::uint32_t hash = word * 2654435761u >> (32 - kBits);
    std::uint64_t& bits = bits_[hash >> 6];
    const std::uint64_t bit = std::uint64_t{1} << (hash & 63);
    const bool had = (bits & bit) != 0;
    bits |= bit;
    return had;
  }

 private:
  std::vector<std::uint64_t> bits_;
};

}  // namespace

std::int64_t least_lz4_bytes(const std::byte* bytes, std::int64_t size, std::int64_t block) {
  if (block < kSmallBlock) return 0;
  Words words;
  std::int64_t least = 0;
  for (std::int64_t begin = 0; begin < size; begin += block) {
    const std::byte* from = bytes + begin;
    const std::int64_t count = std::min(block, size - begin);
    words.clear();
    std::int64_t matched = 0;  // before it, a match may end
    bool before = false;       // whether a match may have the byte before
    for (std::int64_t i = 0; i < count; ++i) {
      if (i + kShortestMatch <= count) {
        std::uint32_t word;
        std::memcpy(&word, from + i, sizeof word);
        matched = words.add(word) ? i + kShortestMatch : matched;
      }
      // What no match can have takes a byte. What matches may have takes at least one match, or as many bytes.
      const bool now = i < matched;
      least += now ? (before ? 0 : kMatchBytes) : 1;
      before = now;
    }
    // Labels are matches nearly everywhere: the rest seldom changes that.
    const std::int64_t done = begin + count;
    if (done > size / 8 && least < done / 2) return 0;
  }
  return least;
}

}  // namespace fastnnunet::storage
