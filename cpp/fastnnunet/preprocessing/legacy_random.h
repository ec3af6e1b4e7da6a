// The numbers of NumPy's RandomState, which nnU-Net draws from while it preprocesses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace fastnnunet::preprocessing {

// MT19937. It makes all numbers of a state at once, in loops that compilers turn into vector code, which takes a third
// of the time of std::mt19937.
class MersenneTwister {
 public:
  static constexpr std::size_t kCount = 624;

  explicit MersenneTwister(std::uint32_t seed) {
    state_[0] = seed;
    for (std::size_t i = 1; i < kCount; ++i)
      state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<std::uint32_t>(i);
  }

  std::uint32_t next() {
    if (at_ == kCount) refill();
    return numbers_[at_++];
  }

  // Calls use(numbers, count) with the numbers that are ready, at least one. It returns how many of them it has used.
  template <typename Use>
  void some(Use use) {
    if (at_ == kCount) refill();
    at_ += use(numbers_.data() + at_, kCount - at_);
  }

 private:
  static constexpr std::size_t kShift = 397;

  static std::uint32_t twisted(std::uint32_t high, std::uint32_t low, std::uint32_t far) {
    const std::uint32_t mixed = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ (mixed >> 1) ^ ((0u - (mixed & 1u)) & 0x9908b0dfu);
  }

  void refill() {
    std::uint32_t* s = state_.data();
    for (std::size_t i = 0; i < kCount - kShift; ++i) s[i] = twisted(s[i], s[i + 1], s[i + kShift]);
    for (std::size_t i = kCount - kShift; i < kCount - 1; ++i) s[i] = twisted(s[i], s[i + 1], s[i + kShift - kCount]);
    s[kCount - 1] = twisted(s[kCount - 1], s[0], s[kShift - 1]);
    for (std::size_t i = 0; i < kCount; ++i) {
      std::uint32_t value = s[i];
      value ^= value >> 11;
      value ^= (value << 7) & 0x9d2c5680u;
      value ^= (value << 15) & 0xefc60000u;
      numbers_[i] = value ^ (value >> 18);
    }
    at_ = 0;
  }

  std::array<std::uint32_t, kCount> state_{}, numbers_{};
  std::size_t at_ = kCount;
};

// MersenneTwister, seeded with one number of 32 bits as in NumPy. Whole numbers come from masks and rejection.
class LegacyRandom {
 public:
  explicit LegacyRandom(std::uint32_t seed) : engine_(seed) {}

  // From 0 to `most`, both included. No number is drawn for 0. `most` is below 2^32.
  std::uint32_t upto(std::uint32_t most) { return masked(most, mask_of(most)); }

  // As RandomState.randint(0, most + 1, size): calls use(i) `count` times.
  template <typename Use>
  void many_upto(std::uint32_t most, std::int64_t count, Use use) {
    if (most == 0) {
      for (std::int64_t i = 0; i < count; ++i) use(0u);
      return;
    }
    const std::uint32_t mask = mask_of(most);
    std::array<std::uint32_t, MersenneTwister::kCount + 1> taken;
    while (count > 0) {
      // Rejected numbers are written over by the next: nothing to predict for the processor.
      std::size_t kept = 0;
      engine_.some([&](const std::uint32_t* numbers, std::size_t ready) {
        std::size_t used = 0;
        for (; used < ready && static_cast<std::int64_t>(kept) < count; ++used) {
          taken[kept] = numbers[used] & mask;
          kept += taken[kept] <= most;
        }
        return used;
      });
      for (std::size_t i = 0; i < kept; ++i) use(taken[i]);
      count -= static_cast<std::int64_t>(kept);
    }
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
      value = engine_.next() & mask;
    } while (value > most);
    return value;
  }

  MersenneTwister engine_;
};

}  // namespace fastnnunet::preprocessing
