#include "fastnnunet/preprocessing/moments.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "fastnnunet/base/error.h"

namespace fastnnunet::preprocessing {

namespace {

constexpr std::int64_t kTogether = 128;

// Sum of term(value) for up to 128 values, as NumPy adds them: in eight partial sums.
template <typename Term>
float sum_of_few(const float* values, std::int64_t count, const Term& term) {
  if (count < 8) {
    float sum = -0.0f;
    for (std::int64_t i = 0; i < count; ++i) sum += term(values[i]);
    return sum;
  }
  float part[8];
  for (std::int64_t k = 0; k < 8; ++k) part[k] = term(values[k]);
  std::int64_t i = 8;
  for (; i < count - count % 8; i += 8)
    for (std::int64_t k = 0; k < 8; ++k) part[k] += term(values[i + k]);
  float sum = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  for (; i < count; ++i) sum += term(values[i]);
  return sum;
}

// Of the values from `begin`: halves of more than 128, in the order of additions of NumPy's pairwise summation
// (https://github.com/numpy/numpy/blob/v2.2.0/numpy/_core/src/umath/loops_utils.h.src).
template <typename Term>
float pairwise_sum(const Parts& values, std::int64_t begin, std::int64_t count, const Term& term) {
  if (count <= kTogether) {
    float few[kTogether];
    float* next = few;
    values.each(begin, begin + count, [&](float value) { *next++ = value; });
    return sum_of_few(few, count, term);
  }
  std::int64_t half = count / 2;
  half -= half % 8;
  return pairwise_sum(values, begin, half, term) + pairwise_sum(values, begin + half, count - half, term);
}

}  // namespace

Moments moments(const Parts& values) {
  const std::int64_t count = values.size();
  if (count < 1) throw InvalidArgument("values", "at least one", "none");
  // NumPy 2 divides a float32 by an integer in float64.
  const auto divided = [count](float sum) {
    return static_cast<float>(static_cast<double>(sum) / static_cast<double>(count));
  };
  Moments found{};
  found.mean = divided(pairwise_sum(values, 0, count, [](float value) { return value; }));
  const float mean = found.mean;
  const float squares = pairwise_sum(values, 0, count, [mean](float value) {
    const float difference = value - mean;
    return difference * difference;
  });
  found.deviation = std::sqrt(divided(squares));
  found.least = std::numeric_limits<float>::infinity();
  found.most = -found.least;
  values.each(0, count, [&](float value) {
    found.least = std::min(found.least, value);
    found.most = std::max(found.most, value);
  });
  return found;
}

}  // namespace fastnnunet::preprocessing
