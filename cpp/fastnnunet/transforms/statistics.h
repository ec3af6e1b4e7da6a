// Statistics of one channel, in double and in blocks of a fixed size, so that they are exact enough to be compared and
// the same whoever computes them. NaN propagates as in torch.
#pragma once

#include <cstddef>
#include <limits>
#include <span>

#include "fastnnunet/transforms/sample.h"

namespace fastnnunet {

struct Extent {
  float minimum;
  float maximum;
};

// Mean, standard deviation and extent in one pass, also over values that come in pieces.
class Moments {
 public:
  // Deviations are summed from `pivot`, which should lie among the values.
  explicit Moments(double pivot = 0) : pivot_(pivot) {}
  // Of all of them, with the first one as the pivot.
  static Moments of(std::span<const float> values);

  void add(std::span<const float> values);
  // Of the same values after this arithmetic.
  Moments after(const Linear& arithmetic) const;

  double mean() const;
  // With Bessel's correction; NaN for fewer than two values.
  double standard_deviation() const;
  Extent extent() const;

 private:
  double pivot_;
  std::size_t count_ = 0;
  double sum_ = 0;      // of deviations
  double squares_ = 0;  // of deviations
  Extent ordered_{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  bool has_nan_ = false;
};

double mean(std::span<const float> values);
// With Bessel's correction, as torch.std; NaN for fewer than two values.
double standard_deviation(std::span<const float> values, double mean);
Extent extent(std::span<const float> values);

}  // namespace fastnnunet
