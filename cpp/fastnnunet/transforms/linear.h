// Arithmetic that a transform leaves to whoever goes over the voxels next.
#pragma once

namespace fastnnunet {

// value * factor + shift.
struct Linear {
  float factor = 1.0f;
  float shift = 0.0f;
  float operator()(float value) const { return value * factor + shift; }
  bool changes() const { return factor != 1.0f || shift != 0.0f; }
};

}  // namespace fastnnunet
