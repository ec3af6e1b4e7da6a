#include "fastnnunet/transforms/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/statistics.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

// Float addition is not associative, so there are lanes, and their order is fixed here and not by the compiler. So many
// that additions do not wait for each other.
constexpr std::size_t kLanes = 32;

// Of one block's differences from a pivot.
double block_sum(const float* HWY_RESTRICT values, std::size_t count, double pivot) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(values[i + lane]) - pivot;
  for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i]) - pivot;
  return std::accumulate(lanes, lanes + kLanes, 0.0);
}

// Of their squares. Of two sums in one loop GCC makes no vector code, and a block is in the first cache.
double block_squares(const float* HWY_RESTRICT values, std::size_t count, double pivot) {
  double lanes[kLanes] = {};
  const auto square = [&](std::size_t at) {
    const double difference = static_cast<double>(values[at]) - pivot;
    return difference * difference;
  };
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += square(i + lane);
  for (; i < count; ++i) lanes[i % kLanes] += square(i);
  return std::accumulate(lanes, lanes + kLanes, 0.0);
}

// Floats of either sign as integers in the same order, and back. Minima and maxima of integers do not depend on the
// order in which they are taken, so that the compiler may choose one that suits its vectors.
HWY_INLINE std::int32_t ordered(std::int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

constexpr std::int32_t kInfinity = std::bit_cast<std::int32_t>(std::numeric_limits<float>::infinity());
constexpr std::int32_t kMinusInfinity = ~kInfinity;  // ordered

// Not meaningful where there is NaN.
Extent ordered_extent(const float* HWY_RESTRICT values, std::size_t count) {
  std::int32_t low = kInfinity, high = kMinusInfinity;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t key = ordered(std::bit_cast<std::int32_t>(values[i]));
    low = std::min(low, key);
    high = std::max(high, key);
  }
  return {std::bit_cast<float>(ordered(low)), std::bit_cast<float>(ordered(high))};
}

std::int32_t largest_magnitude(const float* HWY_RESTRICT values, std::size_t count) {
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i)
    largest = std::max(largest, std::bit_cast<std::int32_t>(values[i]) & 0x7fffffff);
  return largest;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

using HWY_NAMESPACE::kInfinity;
FASTNNUNET_DISPATCH(block_sum);
FASTNNUNET_DISPATCH(block_squares);
FASTNNUNET_DISPATCH(ordered_extent);
FASTNNUNET_DISPATCH(largest_magnitude);

constexpr std::size_t kBlock = sample::Workspace::kBlock;

bool has_nan(std::span<const float> values) { return largest_magnitude(values.data(), values.size()) > kInfinity; }

double pivot_of(std::span<const float> values) {
  return values.empty() || !std::isfinite(values.front()) ? 0.0 : static_cast<double>(values.front());
}

}  // namespace

Moments Moments::of(std::span<const float> values) {
  Moments moments(pivot_of(values));
  moments.add(values);
  return moments;
}

Moments Moments::of(const sample::Workspace& workspace, std::span<float> values) {
  Moments moments(pivot_of(values));
  moments.add_made(workspace, values, [](std::span<float>) {});
  return moments;
}

void Moments::add(std::span<const float> values) {
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock)
    take(of_block(values.subspan(begin, std::min(kBlock, values.size() - begin))));
}

Moments::Block Moments::of_block(std::span<const float> values) const {
  const double sum = block_sum(values.data(), values.size(), pivot_);
  // A sum with NaN among its terms is NaN.
  return {values.size(), sum, block_squares(values.data(), values.size(), pivot_),
          ordered_extent(values.data(), values.size()), std::isnan(sum) && transforms::has_nan(values)};
}

void Moments::take(const Block& block) {
  count_ += block.count;
  sum_ += block.sum;
  squares_ += block.squares;
  ordered_.minimum = std::min(ordered_.minimum, block.ordered.minimum);
  ordered_.maximum = std::max(ordered_.maximum, block.ordered.maximum);
  has_nan_ = has_nan_ || block.has_nan;
}

Moments Moments::after(const sample::Linear& arithmetic) const {
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
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock)
    sum += block_squares(values.data() + begin, std::min(kBlock, values.size() - begin), mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Extent extent(std::span<const float> values) {
  if (has_nan(values)) return {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::quiet_NaN()};
  return ordered_extent(values.data(), values.size());
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
