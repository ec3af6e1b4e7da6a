// The numbers of NumPy's RandomState, which nnU-Net draws from while it preprocesses.
#pragma once

#include <cstdint>
#include <random>
#include <utility>

namespace fastnnunet::preprocessing {

// MT19937, seeded with one number of 32 bits as in NumPy. Whole numbers come from masks and rejection.
class LegacyRandom {
 public:
  explicit LegacyRandom(std::uint32_t seed) : engine_(seed) {}

  // From 0 to `most`, both included. No number is drawn for 0. `most` is below 2^32.
  std::uint32_t upto(std::uint32_t most) { return masked(most, mask_of(most)); }

  // As RandomState.randint(0, most + 1, size): calls use(i) `count` times.
  template <typename Use>
  void many_upto(std::uint32_t most, std::int64_t count, Use use) {
    const std::uint32_t mask = mask_of(most);
    for (std::int64_t i = 0; i < count; ++i) use(masked(most, mask));
  }

  // As RandomState.shuffle, which is also RandomState.permutation of 0 to count - 1.
  template <typename T>
  void shuffle(T* values, std::uint32_t count) {
    std::uint32_t mask = mask_of(count);
    for (std::uint32_t i = count; i-- > 1;) {
      while ((mask >> 1) >= i) mask >>= 1;
      std::swap(values[i], values[masked(i, mask)]);
    }
  }

 private:
  static std::uint32_t mask_of(std::uint32_t most) {
    std::uint32_t mask = most;
    for (unsigned shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    return mask;
  }

  std::uint32_t masked(std::uint32_t most, std::uint32_t mask) {
    if (most == 0) return 0;
    std::uint32_t value = 0;
    do {
      value = static_cast<std::uint32_t>(engine_()) & mask;
    } while (value > most);
    return value;
  }

  std::mt19937 engine_;
};

}  // namespace fastnnunet::preprocessing
