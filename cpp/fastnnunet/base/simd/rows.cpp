#include "fastnnunet/base/simd/rows.h"

#include "fastnnunet/base/simd/clones.h"

namespace fastnnunet {

FASTNNUNET_CLONES
void mix_rows(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
              std::int64_t count, float x, float y, float* FASTNNUNET_RESTRICT out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float lower = lower_lower[i] + y * (lower_upper[i] - lower_lower[i]);
    const float upper = upper_lower[i] + y * (upper_upper[i] - upper_lower[i]);
    out[i] = lower + x * (upper - lower);
  }
}

}  // namespace fastnnunet
