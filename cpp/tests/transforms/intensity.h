// What the tests of intensity transforms share.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "transforms/samples.h"

namespace fastnnunet::testing {

inline double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

inline double deviation_of(const std::vector<float>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const float value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

// Channels that were not chosen, and labels, stay as they are.
inline void check_only_channel(const Data& before, const Data& after, std::int64_t chosen) {
  for (std::int64_t c = 0; c < before.channels(); ++c) CHECK((before.channel(c) == after.channel(c)) == (c != chosen));
  CHECK(before.labels == after.labels);
}

}  // namespace fastnnunet::testing
