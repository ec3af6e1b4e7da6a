#include "fastnnunet/evaluation/ensemble.h"

namespace fastnnunet::evaluation {

void keep_best(const float* sums, std::int64_t voxels, int models, std::uint16_t label, float* best,
               std::uint16_t* labels) {
  const auto divisor = static_cast<float>(models);
  for (std::int64_t i = 0; i < voxels; ++i) {
    const float mean = sums[i] / divisor, before = best[i];
    const bool wins = !(mean <= before) && before == before;
    best[i] = wins ? mean : before;
    labels[i] = wins ? label : labels[i];
  }
}

void keep_above_half(const float* sums, std::int64_t voxels, int models, std::uint16_t label, std::uint16_t* labels) {
  const auto divisor = static_cast<float>(models);
  for (std::int64_t i = 0; i < voxels; ++i) labels[i] = sums[i] / divisor > 0.5F ? label : labels[i];
}

}  // namespace fastnnunet::evaluation
