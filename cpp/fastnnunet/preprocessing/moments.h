// Mean and standard deviation of many intensities, bit for bit as NumPy 2.4 and 2.5 find them.
#pragma once

#include "fastnnunet/preprocessing/parts.h"

namespace fastnnunet::preprocessing {

struct Moments {
  float mean;
  float deviation;  // of the population
  float least;
  float most;
};

// np.mean, np.std, np.min and np.max of one float32 array with pairwise summation, as NumPy sums, without its arrays of
// differences and of squares. Throws InvalidArgument if there are no values. No value is NaN.
Moments moments(const Parts& values);

}  // namespace fastnnunet::preprocessing
