// Arithmetic on whole rows along Z.
#pragma once

#include <cstdint>

namespace fastnnunet {

// out[i]: between four rows, lower and upper along X, and of each lower and upper along Y; `x` and `y` are the shares
// of the way to the upper ones. What is constant stays so to the last bit, whatever the shares. `out` overlaps no row.
void mix_rows(const float* lower_lower, const float* lower_upper, const float* upper_lower, const float* upper_upper,
              std::int64_t count, float x, float y, float* out);

}  // namespace fastnnunet
