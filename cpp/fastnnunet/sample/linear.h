// Arithmetic that a transform leaves to whoever goes over the voxels next.
#pragma once

#include <span>

namespace fastnnunet {

// value * factor + shift.
struct Linear {
  float factor = 1.0f;
  float shift = 0.0f;
  float operator()(float value) const { return value * factor + shift; }
  bool changes() const { return factor != 1.0f || shift != 0.0f; }
};

// Does the arithmetic, where it changes anything.
void settle(const Linear& arithmetic, std::span<float> values);

}  // namespace fastnnunet
