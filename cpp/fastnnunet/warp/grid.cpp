#include "fastnnunet/warp/grid.h"

#include <cmath>

namespace fastnnunet {
namespace {

// The lattice of an axis of the window whose row of the matrix has one entry, all others being less than its rounding
// (a quarter turn's cosine is 6e-17).
Lattice lattice_of(const Grid& grid, int axis, int dims, const Index3& patch, const Index3& window) {
  Lattice lattice;
  for (int of = 3 - dims; of < 3; ++of) {
    const auto entry = static_cast<float>(grid.affine(axis, of));
    if (std::abs(entry) * static_cast<float>(patch[of]) < 1e-9f) continue;
    if (lattice.of >= 0) return {};
    lattice.of = of;
    lattice.entry = entry;
    lattice.middle = static_cast<float>(patch[of] - 1) / 2;
  }
  const auto size = static_cast<double>(window[axis]);
  lattice.shift = static_cast<float>(grid.centre[axis] - size / 2);
  lattice.half_size = static_cast<float>(size / 2);
  lattice.align_corners = grid.align_corners;
  lattice.fused = dims == 2;
  return lattice;
}

}  // namespace

Eigen::Matrix3d affine_3d(const double (&angles)[3], const double (&scales)[3]) {
  const auto sine = [&](int axis) { return std::sin(angles[axis]); };
  const auto cosine = [&](int axis) { return std::cos(angles[axis]); };
  Eigen::Matrix3d x, y, z;
  x << 1, 0, 0, 0, cosine(0), -sine(0), 0, sine(0), cosine(0);
  y << cosine(1), 0, sine(1), 0, 1, 0, -sine(1), 0, cosine(1);
  z << cosine(2), -sine(2), 0, sine(2), cosine(2), 0, 0, 0, 1;
  return z * y * x * Eigen::Vector3d(scales[0], scales[1], scales[2]).asDiagonal();
}

Eigen::Matrix2d affine_2d(double angle, double scale_y, double scale_z) {
  Eigen::Matrix2d rotation;
  rotation << std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle);
  return rotation * Eigen::Vector2d(scale_y, scale_z).asDiagonal();
}

Positions grid_positions(const Grid& grid, int dims, const Index3& patch, const Index3& window,
                         const Displacements* displacements, Border border) {
  Positions positions;
  positions.displacements = displacements;
  positions.border = border;
  positions.align_corners = grid.align_corners;
  positions.planar = dims == 2;
  for (int axis = 0; axis < 3; ++axis) {
    if (axis < 3 - dims) {
      positions.matrix[axis][axis] = 1.0;
      continue;
    }
    // bgv2 divides by the window's size whatever align_corners says, and grid_sample multiplies by this: with
    // align_corners voxel 0 lies at -1 and the last one at 1, else these are the outer edges of both.
    const auto size = static_cast<double>(window[axis]);
    const double stretch = grid.align_corners ? (size - 1) / size : 1.0;
    double offset = grid.centre[axis] - size / 2;
    for (int of = 0; of < 3; ++of) {
      // The grid is centred on the patch and the matrix passes through float32, as in bgv2.
      const double entry = of < 3 - dims ? 0.0 : through_float(grid.affine(axis, of));
      positions.matrix[axis][of] = entry * stretch;
      offset -= entry * static_cast<double>(patch[of] - 1) / 2;
      if (displacements != nullptr && grid.centred) offset -= entry * displacements->mean[of];
    }
    positions.offset[axis] = offset * stretch + (size - 1) / 2;
    if (displacements == nullptr) positions.lattice[axis] = lattice_of(grid, axis, dims, patch, window);
  }
  return positions;
}

}  // namespace fastnnunet
