// Affine resampling of one patch: linear for intensities, the label with the most interpolated weight for
// segmentations.
#pragma once

#include <array>
#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet {

// Voxels of `box` of a window, C-contiguous. What lies outside of the box lies outside of the window, or is not asked
// for.
template <typename T>
struct SourceView {
  const T* data = nullptr;
  Box box;
};

// Position in the window of the patch's voxel (i, j, k), in voxels: matrix * (i, j, k) + offset.
struct AffinePositions {
  std::array<std::array<double, 3>, 3> matrix{};
  std::array<double, 3> offset{};
};

enum class Tiebreak { nearest, lowest, highest };

// The voxels of the window that linear interpolation of the patch touches, cut to the window.
Box needed_box(const AffinePositions& positions, const Index3& patch, const Index3& window);

// out: (X, Y, Z) of `patch`, C-contiguous. Corners outside of the view count as `outside`.
void resample_image(const SourceView<float>& view, const AffinePositions& positions, const Index3& patch, float* out,
                    float outside);
void resample_labels(const SourceView<std::int16_t>& view, const AffinePositions& positions, const Index3& patch,
                     std::int16_t* out, std::int16_t outside, Tiebreak tiebreak);

}  // namespace fastnnunet
