#include "fastnnunet/transforms/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "fastnnunet/base/clones.h"

namespace fastnnunet {
namespace {

constexpr int kLanes = 16;
constexpr std::size_t kBlock = 4096;

// Sums of one block's differences from a pivot, in lanes: float addition is not associative, so the order is fixed here
// and not by the compiler.
FASTNNUNET_CLONES
double block_sum(const float* FASTNNUNET_RESTRICT values, std::size_t count, double pivot) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(values[i + lane]) - pivot;
  for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i]) - pivot;
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

FASTNNUNET_CLONES
double block_squares(const float* FASTNNUNET_RESTRICT values, std::size_t count, double pivot) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const double difference = static_cast<double>(values[i + lane]) - pivot;
      lanes[lane] += difference * difference;
    }
  for (; i < count; ++i) {
    const double difference = static_cast<double>(values[i]) - pivot;
    lanes[i % kLanes] += difference * difference;
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

// Floats of either sign as integers in the same order, and back. Minima and maxima of integers do not depend on the
// order in which they are taken, so that the compiler may choose one that suits its vectors.
FASTNNUNET_INLINE std::int32_t ordered(std::int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

constexpr std::int32_t kInfinity = std::bit_cast<std::int32_t>(std::numeric_limits<float>::infinity());
constexpr std::int32_t kMinusInfinity = ~kInfinity;  // ordered

// Not meaningful where there is NaN.
FASTNNUNET_CLONES
Extent ordered_extent(const float* FASTNNUNET_RESTRICT values, std::size_t count, bool& has_nan) {
  std::int32_t low = kInfinity, high = kMinusInfinity, largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::int32_t>(values[i]);
    const std::int32_t key = ordered(bits);
    low = std::min(low, key);
    high = std::max(high, key);
    largest = std::max(largest, bits & 0x7fffffff);
  }
  has_nan = largest > kInfinity;
  return {std::bit_cast<float>(ordered(low)), std::bit_cast<float>(ordered(high))};
}

}  // namespace

Moments Moments::of(std::span<const float> values) {
  Moments moments(values.empty() || !std::isfinite(values.front()) ? 0.0 : static_cast<double>(values.front()));
  moments.add(values);
  return moments;
}

void Moments::add(std::span<const float> values) {
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    const float* block = values.data() + begin;
    const std::size_t count = std::min(kBlock, values.size() - begin);
    // One after the other: of a loop with both, GCC makes no vector code. The block is in the nearest cache.
    sum_ += block_sum(block, count, pivot_);
    squares_ += block_squares(block, count, pivot_);
    bool has_nan = false;
    const Extent found = ordered_extent(block, count, has_nan);
    ordered_.minimum = std::min(ordered_.minimum, found.minimum);
    ordered_.maximum = std::max(ordered_.maximum, found.maximum);
    has_nan_ = has_nan_ || has_nan;
  }
  count_ += values.size();
}

Moments Moments::after(const Linear& arithmetic) const {
  const double factor = arithmetic.factor;
  Moments moments = *this;
  moments.pivot_ = pivot_ * factor + double{arithmetic.shift};
  moments.sum_ = sum_ * factor;
  moments.squares_ = squares_ * factor * factor;
  const float ends[] = {arithmetic(ordered_.minimum), arithmetic(ordered_.maximum)};
  moments.ordered_ = {std::min(ends[0], ends[1]), std::max(ends[0], ends[1])};
  moments.has_nan_ = has_nan_ || std::isnan(ends[0]) || std::isnan(ends[1]);
  return moments;
}

double Moments::mean() const { return pivot_ + sum_ / static_cast<double>(count_); }

double Moments::standard_deviation() const {
  if (count_ < 2) return std::numeric_limits<double>::quiet_NaN();
  const double n = static_cast<double>(count_);
  // A constant channel has none; rounding could make it slightly negative.
  const double variance = (squares_ - sum_ * sum_ / n) / (n - 1);
  return variance < 0 ? 0.0 : std::sqrt(variance);
}

Extent Moments::extent() const {
  if (has_nan_) return {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::quiet_NaN()};
  return ordered_;
}

double mean(std::span<const float> values) {
  double sum = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock)
    sum += block_sum(values.data() + begin, std::min(kBlock, values.size() - begin), 0.0);
  return sum / static_cast<double>(values.size());
}

double standard_deviation(std::span<const float> values, double mean) {
  double sum = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock)
    sum += block_squares(values.data() + begin, std::min(kBlock, values.size() - begin), mean);
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Extent extent(std::span<const float> values) {
  bool has_nan = false;
  const Extent ordered = ordered_extent(values.data(), values.size(), has_nan);
  if (has_nan) return {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::quiet_NaN()};
  return ordered;
}

}  // namespace fastnnunet
