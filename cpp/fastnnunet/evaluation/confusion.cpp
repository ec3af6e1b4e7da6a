#include "fastnnunet/evaluation/confusion.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "fastnnunet/base/error.h"

namespace fastnnunet::evaluation {

LabelNumbers::LabelNumbers(const std::vector<std::int64_t>& labels) : size_(labels.size() + 1) {
  constexpr std::int64_t kFurthest = std::int64_t{1} << 20;
  if (labels.empty() || size_ > std::numeric_limits<std::uint16_t>::max())
    throw InvalidArgument("count_pairs", "1 to 65534 labels", std::to_string(labels.size()));
  const auto [lowest, highest] = std::minmax_element(labels.begin(), labels.end());
  lowest_ = *lowest;
  highest_ = *highest;
  if (lowest_ < -kFurthest || highest_ > kFurthest)
    throw InvalidArgument("count_pairs", "labels from -2^20 to 2^20",
                          std::to_string(lowest_) + " to " + std::to_string(highest_));
  numbers_.assign(static_cast<std::size_t>(highest_ - lowest_ + 1), 0);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    std::uint16_t& number = numbers_[static_cast<std::size_t>(labels[i] - lowest_)];
    if (number != 0) throw InvalidArgument("count_pairs", "each label once", std::to_string(labels[i]) + " twice");
    number = static_cast<std::uint16_t>(i + 1);
  }
}

template <typename T>
std::uint16_t LabelNumbers::of(T value) const {
  std::int64_t whole = 0;
  if constexpr (std::is_floating_point_v<T>) {
    // The labels' ends are exact in float. NaN fails each comparison.
    if (!(value >= static_cast<T>(lowest_) && value <= static_cast<T>(highest_))) return 0;
    whole = static_cast<std::int64_t>(value);
    if (static_cast<T>(whole) != value) return 0;
  } else {
    if (std::cmp_less(value, lowest_) || std::cmp_greater(value, highest_)) return 0;
    whole = static_cast<std::int64_t>(value);
  }
  return numbers_[static_cast<std::size_t>(whole - lowest_)];
}

template <typename T>
void number_values(const T* values, std::int64_t count, const LabelNumbers& numbers, std::uint16_t* out) {
  constexpr std::int64_t kGroup = 16;
  T last = 0;
  std::uint16_t number = numbers.of(last);
  std::int64_t i = 0;
  // Neighbours mostly have the same label.
  for (; i + kGroup <= count; i += kGroup) {
    bool same = true;
    for (std::int64_t k = 0; k < kGroup; ++k) same &= values[i + k] == last;
    if (same) {
      std::fill_n(out + i, kGroup, number);
      continue;
    }
    for (std::int64_t k = 0; k < kGroup; ++k) {
      if (values[i + k] != last) {
        last = values[i + k];
        number = numbers.of(last);
      }
      out[i + k] = number;
    }
  }
  for (; i < count; ++i) out[i] = numbers.of(values[i]);
}

void count_pairs(const std::uint16_t* reference, const std::uint16_t* prediction, std::int64_t count, std::size_t size,
                 std::int64_t* counts) {
  constexpr std::int64_t kGroup = 16;
  std::int64_t i = 0;
  for (; i + kGroup <= count; i += kGroup) {
    unsigned differ = 0;
    for (std::int64_t k = 0; k < kGroup; ++k)
      differ |= static_cast<unsigned>(reference[i + k] ^ reference[i]) |
                static_cast<unsigned>(prediction[i + k] ^ prediction[i]);
    if (differ == 0) {
      counts[reference[i] * size + prediction[i]] += kGroup;
      continue;
    }
    for (std::int64_t k = 0; k < kGroup; ++k) ++counts[reference[i + k] * size + prediction[i + k]];
  }
  for (; i < count; ++i) ++counts[reference[i] * size + prediction[i]];
}

template std::uint16_t LabelNumbers::of(float) const;
template void number_values(const float*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const double*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::int8_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::uint8_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::int16_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::uint16_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::int32_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::uint32_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::int64_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);
template void number_values(const std::uint64_t*, std::int64_t, const LabelNumbers&, std::uint16_t*);

}  // namespace fastnnunet::evaluation
