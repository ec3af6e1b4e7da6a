#include "fastnnunet/preprocessing/normalize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/base/parallel.h"
#include "fastnnunet/platform/buffer.h"

namespace fastnnunet::preprocessing {

namespace {

constexpr float kEpsilon = 1e-8f;
constexpr std::int64_t kBlock = 128;

// value(i) for i in [begin, begin + count), summed as NumPy's pairwise summation does: eight partial sums in blocks of
// 128, and halves of what is longer.
template <typename Value>
float pairwise_sum(const Value& value, std::int64_t begin, std::int64_t count) {
  if (count < 8) {
    float sum = -0.0f;
    for (std::int64_t i = 0; i < count; ++i) sum += value(begin + i);
    return sum;
  }
  if (count <= kBlock) {
    float sums[8];
    for (std::int64_t lane = 0; lane < 8; ++lane) sums[lane] = value(begin + lane);
    std::int64_t i = 8;
    for (; i < count - count % 8; i += 8)
      for (std::int64_t lane = 0; lane < 8; ++lane) sums[lane] += value(begin + i + lane);
    float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < count; ++i) sum += value(begin + i);
    return sum;
  }
  std::int64_t half = count / 2;
  half -= half % 8;
  const float first = pairwise_sum(value, begin, half);
  return first + pairwise_sum(value, begin + half, count - half);
}

struct Moments {
  float mean = 0.0f;
  float deviation = 0.0f;
};

Moments moments_of(const float* values, std::int64_t count) {
  // NumPy divides in double precision.
  const auto over_count = [&](float sum) { return static_cast<float>(sum / static_cast<double>(count)); };
  const float mean = over_count(pairwise_sum([&](std::int64_t i) { return values[i]; }, 0, count));
  const float squares = pairwise_sum(
      [&](std::int64_t i) {
        const float difference = values[i] - mean;
        return difference * difference;
      },
      0, count);
  return {mean, std::sqrt(over_count(squares))};
}

struct Range {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  bool nan = false;
};

Range range_of(const float* image, std::int64_t count, int threads) {
  Range range;
  base::Mutex mutex;
  base::parallel_for(threads, count, [&](std::int64_t begin, std::int64_t end) {
    Range part;
    for (std::int64_t i = begin; i < end; ++i) {
      part.low = image[i] < part.low ? image[i] : part.low;
      part.high = image[i] > part.high ? image[i] : part.high;
      part.nan |= image[i] != image[i];
    }
    const base::MutexLock lock(mutex);
    range.low = std::min(range.low, part.low);
    range.high = std::max(range.high, part.high);
    range.nan |= part.nan;
  });
  return range;
}

template <typename Change>
void for_all(float* image, std::int64_t count, int threads, const Change& change) {
  base::parallel_for(threads, count, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) image[i] = change(image[i]);
  });
}

}  // namespace

void normalize_z_score(float* image, std::int64_t count, const std::uint8_t* mask, int threads) {
  if (mask == nullptr) {
    const Moments moments = moments_of(image, count);
    const float mean = moments.mean;
    // As Python's max(): NaN, the first of the two, stays.
    const float divisor = kEpsilon > moments.deviation ? kEpsilon : moments.deviation;
    for_all(image, count, threads, [=](float value) { return (value - mean) / divisor; });
    return;
  }
  std::int64_t inside = 0;
  for (std::int64_t i = 0; i < count; ++i) inside += mask[i];
  if (inside == 0) return;
  Moments moments;
  {
    platform::Buffer buffer;
    float* values = buffer.reserve<float>(static_cast<std::size_t>(inside));
    float* next = values;
    for (std::int64_t i = 0; i < count; ++i)
      if (mask[i] != 0) *next++ = image[i];
    moments = moments_of(values, inside);
  }
  const float mean = moments.mean;
  const float divisor = kEpsilon > moments.deviation ? kEpsilon : moments.deviation;
  base::parallel_for(threads, count, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float normalized = (image[i] - mean) / divisor;
      image[i] = mask[i] != 0 ? normalized : image[i];
    }
  });
}

void normalize_ct(float* image, std::int64_t count, float lower, float upper, float mean, float deviation,
                  int threads) {
  for_all(image, count, threads, [=](float value) {
    float clipped = value < lower ? lower : value;  // NaN is below nothing
    clipped = clipped > upper ? upper : clipped;
    return (clipped - mean) / deviation;
  });
}

void normalize_rescale(float* image, std::int64_t count, int threads) {
  const Range range = range_of(image, count, threads);
  if (range.nan) {
    std::fill(image, image + count, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const float low = range.low, divisor = std::max(range.high - low, kEpsilon);
  for_all(image, count, threads, [=](float value) { return (value - low) / divisor; });
}

bool normalize_rgb(float* image, std::int64_t count, int threads) {
  const Range range = range_of(image, count, threads);
  if (range.nan || range.low < 0.0f || range.high > 255.0f) return false;
  for_all(image, count, threads, [](float value) { return value / 255.0f; });
  return true;
}

}  // namespace fastnnunet::preprocessing
