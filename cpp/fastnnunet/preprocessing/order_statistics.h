// Values at given ranks of many, for percentiles of intensities.
#pragma once

#include <cstdint>
#include <vector>

#include "fastnnunet/preprocessing/parts.h"

namespace fastnnunet::preprocessing {

// The values that would stand at `ranks`, from 0 on, if `values` were sorted: radix selection in two passes, which
// neither copies nor changes them. No value is NaN. Throws InvalidArgument for a rank that does not exist.
std::vector<float> order_statistics(const Parts& values, const std::vector<std::int64_t>& ranks, int threads);

}  // namespace fastnnunet::preprocessing
