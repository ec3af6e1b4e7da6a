#include "fastnnunet/transforms/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "fastnnunet/base/clones.h"

namespace fastnnunet {
namespace {

constexpr int kLanes = 16;
constexpr std::size_t kBlock = 4096;

// Sums of one block in lanes: float addition is not associative, so the order is fixed here and not by the compiler.
FASTNNUNET_CLONES
double block_sum(const float* FASTNNUNET_RESTRICT values, std::size_t count) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(values[i + lane]);
  for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

FASTNNUNET_CLONES
double block_squares(const float* FASTNNUNET_RESTRICT values, std::size_t count, double mean) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const double difference = static_cast<double>(values[i + lane]) - mean;
      lanes[lane] += difference * difference;
    }
  for (; i < count; ++i) {
    const double difference = static_cast<double>(values[i]) - mean;
    lanes[i % kLanes] += difference * difference;
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

FASTNNUNET_CLONES
Extent ordered_extent(const float* FASTNNUNET_RESTRICT values, std::size_t count, bool& has_nan) {
  float low[kLanes], high[kLanes];
  std::fill(low, low + kLanes, std::numeric_limits<float>::infinity());
  std::fill(high, high + kLanes, -std::numeric_limits<float>::infinity());
  int unordered[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      low[lane] = value < low[lane] ? value : low[lane];
      high[lane] = value > high[lane] ? value : high[lane];
      unordered[lane] |= value != value;
    }
  for (; i < count; ++i) {
    const float value = values[i];
    low[0] = value < low[0] ? value : low[0];
    high[0] = value > high[0] ? value : high[0];
    unordered[0] |= value != value;
  }
  int any = 0;
  for (int lane = 0; lane < kLanes; ++lane) any |= unordered[lane];
  has_nan = any != 0;
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

struct BlockMoments {
  double sum, squares;
  Extent ordered;
  bool has_nan;
};

FASTNNUNET_CLONES
void block_moments(const float* FASTNNUNET_RESTRICT values, std::size_t count, double pivot, BlockMoments& out) {
  double sums[kLanes] = {}, squares[kLanes] = {};
  float low[kLanes], high[kLanes];
  std::fill(low, low + kLanes, std::numeric_limits<float>::infinity());
  std::fill(high, high + kLanes, -std::numeric_limits<float>::infinity());
  int unordered[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      const double deviation = static_cast<double>(value) - pivot;
      sums[lane] += deviation;
      squares[lane] += deviation * deviation;
      low[lane] = value < low[lane] ? value : low[lane];
      high[lane] = value > high[lane] ? value : high[lane];
      unordered[lane] |= value != value;
    }
  for (; i < count; ++i) {
    const float value = values[i];
    const double deviation = static_cast<double>(value) - pivot;
    sums[0] += deviation;
    squares[0] += deviation * deviation;
    low[0] = value < low[0] ? value : low[0];
    high[0] = value > high[0] ? value : high[0];
    unordered[0] |= value != value;
  }
  out = {0, 0, {low[0], high[0]}, false};
  int any = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    out.sum += sums[lane];
    out.squares += squares[lane];
    out.ordered.minimum = std::min(out.ordered.minimum, low[lane]);
    out.ordered.maximum = std::max(out.ordered.maximum, high[lane]);
    any |= unordered[lane];
  }
  out.has_nan = any != 0;
}

}  // namespace

Moments Moments::of(std::span<const float> values) {
  Moments moments(values.empty() || !std::isfinite(values.front()) ? 0.0 : static_cast<double>(values.front()));
  moments.add(values);
  return moments;
}

void Moments::add(std::span<const float> values) {
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    BlockMoments block;
    block_moments(values.data() + begin, std::min(kBlock, values.size() - begin), pivot_, block);
    sum_ += block.sum;
    squares_ += block.squares;
    ordered_.minimum = std::min(ordered_.minimum, block.ordered.minimum);
    ordered_.maximum = std::max(ordered_.maximum, block.ordered.maximum);
    has_nan_ = has_nan_ || block.has_nan;
  }
  count_ += values.size();
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
    sum += block_sum(values.data() + begin, std::min(kBlock, values.size() - begin));
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
