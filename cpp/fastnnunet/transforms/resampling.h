// Resampling of one patch. Linear: intensities are interpolated, and the label with the most interpolated weight wins.
// Nearest: both are a voxel's.
#pragma once

#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/transforms/positions.h"

namespace fastnnunet {

// Voxels of `box` of a window, C-contiguous. What lies outside of the box lies outside of the window, or is not asked
// for.
template <typename T>
struct SourceView {
  const T* data = nullptr;
  Box box;
};

enum class Interpolation { linear, nearest };

// Which label wins where several share the greatest weight.
enum class Tiebreak { nearest, lowest, highest };

// out: (X, Y, Z) of `patch`, C-contiguous. Corners outside of the view count as `outside`. `window`: what the view is
// of.
void resample_image(const SourceView<float>& view, const Index3& window, const Positions& positions,
                    const Index3& patch, Interpolation interpolation, float outside, float* out);
void resample_labels(const SourceView<std::int16_t>& view, const Index3& window, const Positions& positions,
                     const Index3& patch, Interpolation interpolation, std::int16_t outside, Tiebreak tiebreak,
                     std::int16_t* out);

}  // namespace fastnnunet
