#include "fastnnunet/preprocessing/order_statistics.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/base/parallel.h"

namespace fastnnunet::preprocessing {

namespace {

constexpr std::size_t kDigits = std::size_t{1} << 16;
using Histogram = std::vector<std::int64_t>;

// Numbers in the order of the values.
std::uint32_t key_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
float value_of(std::uint32_t key) { return std::bit_cast<float>((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key); }

// The digit in which a rank lies; the rank becomes that within the digit.
std::size_t find_digit(const std::int64_t* histogram, std::int64_t& rank) {
  std::size_t digit = 0;
  while (rank >= histogram[digit]) rank -= histogram[digit++];
  return digit;
}

// Adds count(key, histogram) for all values, in histograms of `size`.
template <typename Count>
Histogram histogram_of(const Parts& values, std::size_t size, int threads, const Count& add) {
  Histogram all(size);
  base::Mutex mutex;
  base::parallel_for(threads, values.size(), [&](std::int64_t begin, std::int64_t end) {
    Histogram part(size);
    values.each(begin, end, [&](float value) { add(key_of(value), part.data()); });
    const base::MutexLock lock(mutex);
    for (std::size_t digit = 0; digit < size; ++digit) all[digit] += part[digit];
  });
  return all;
}

}  // namespace

std::vector<float> order_statistics(const Parts& values, const std::vector<std::int64_t>& ranks, int threads) {
  const std::int64_t count = values.size();
  std::vector<std::int64_t> left = ranks;
  for (const std::int64_t rank : ranks)
    if (rank < 0 || rank >= count)
      throw InvalidArgument("ranks", "numbers from 0 to " + std::to_string(count - 1), std::to_string(rank));
  const Histogram high = histogram_of(values, kDigits, threads,
                                      [](std::uint32_t key, std::int64_t* histogram) { ++histogram[key >> 16]; });
  // The upper digits that matter, and for each a histogram of the lower; the last is of all others.
  std::vector<std::size_t> digits;
  for (std::int64_t& rank : left) digits.push_back(find_digit(high.data(), rank));
  std::vector<std::size_t> distinct = digits;
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<std::uint8_t> slots(kDigits, static_cast<std::uint8_t>(distinct.size()));
  for (std::size_t slot = 0; slot < distinct.size(); ++slot) slots[distinct[slot]] = static_cast<std::uint8_t>(slot);
  const Histogram low = histogram_of(
      values, (distinct.size() + 1) * kDigits, threads,
      [&](std::uint32_t key, std::int64_t* histogram) { ++histogram[slots[key >> 16] * kDigits + (key & 0xffffu)]; });
  std::vector<float> result;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const std::size_t digit = find_digit(low.data() + slots[digits[i]] * kDigits, left[i]);
    result.push_back(value_of(static_cast<std::uint32_t>(digits[i] << 16 | digit)));
  }
  return result;
}

}  // namespace fastnnunet::preprocessing
