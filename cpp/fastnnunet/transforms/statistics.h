// Statistics of one channel, in double and in blocks of a fixed size, so that they are exact enough to be compared and
// the same whoever computes them. NaN propagates as in torch.
#pragma once

#include <span>

namespace fastnnunet {

struct Extent {
  float minimum;
  float maximum;
};

double mean(std::span<const float> values);
// With Bessel's correction, as torch.std; NaN for fewer than two values.
double standard_deviation(std::span<const float> values, double mean);
Extent extent(std::span<const float> values);

}  // namespace fastnnunet
