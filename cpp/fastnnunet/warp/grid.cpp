#include "fastnnunet/warp/grid.h"

#include <cmath>

namespace fastnnunet::warp {
namespace {

// Along an axis, counted in voxels from the first one.
double middle_of(std::int64_t size) { return static_cast<double>(size - 1) / 2; }

// bgv2's matrix passes through float32. A call, and not a pair of conversions: where these stand in a loop, GCC 12's
// vectoriser (-O3) uses the number as it was before.
#if defined(__GNUC__)
__attribute__((noinline))
#endif
double through_float(double value) {
  return static_cast<double>(static_cast<float>(value));
}

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
  lattice.shift = static_cast<float>(grid.affine.translation()[axis] - size / 2);
  lattice.half_size = static_cast<float>(size / 2);
  lattice.align_corners = grid.align_corners;
  lattice.fused = dims == 2;
  return lattice;
}

}  // namespace

// Entries and products as bgv2 has them: on the diagonal of Eigen's AngleAxis stands 1 - cos + cos, which is not always
// 1.
Eigen::Matrix3d affine_matrix(int dims, const double (&angles)[3], const double (&scales)[3]) {
  const auto sine = [&](int axis) { return std::sin(angles[axis]); };
  const auto cosine = [&](int axis) { return std::cos(angles[axis]); };
  if (dims == 2) {
    Eigen::Matrix2d rotation;
    rotation << cosine(1), -sine(1), sine(1), cosine(1);
    Eigen::Matrix3d affine = Eigen::Matrix3d::Identity();
    affine.bottomRightCorner<2, 2>() = rotation * Eigen::Vector2d(scales[0], scales[1]).asDiagonal();
    return affine;
  }
  Eigen::Matrix3d x, y, z;
  x << 1, 0, 0, 0, cosine(0), -sine(0), 0, sine(0), cosine(0);
  y << cosine(1), 0, sine(1), 0, 1, 0, -sine(1), 0, cosine(1);
  z << cosine(2), -sine(2), 0, sine(2), cosine(2), 0, 0, 0, 1;
  return z * y * x * Eigen::Vector3d(scales[0], scales[1], scales[2]).asDiagonal();
}

// The order of sums decides about the last bits of positions, here and below.
Positions grid_positions(const Grid& grid, int dims, const Index3& patch, const Index3& window,
                         const Displacements* displacements, Border border) {
  Positions positions;
  positions.displacements = displacements;
  positions.border = border;
  positions.align_corners = grid.align_corners;
  positions.planar = dims == 2;
  for (int axis = 3 - dims; axis < 3; ++axis) {
    // bgv2 divides by the window's size whatever align_corners says, and grid_sample multiplies by this: with
    // align_corners voxel 0 lies at -1 and the last one at 1, else these are the outer edges of both.
    const auto size = static_cast<double>(window[axis]);
    const double stretch = grid.align_corners ? (size - 1) / size : 1.0;
    double offset = grid.affine.translation()[axis] - size / 2;
    for (int of = 0; of < 3; ++of) {
      // The grid is centred on the patch.
      const double entry = of < 3 - dims ? 0.0 : through_float(grid.affine(axis, of));
      positions.to_window(axis, of) = entry * stretch;
      offset -= entry * middle_of(patch[of]);
      if (displacements != nullptr && grid.centred) offset -= entry * displacements->mean[of];
    }
    positions.to_window.translation()[axis] = offset * stretch + middle_of(window[axis]);
    if (displacements == nullptr) positions.lattice[axis] = lattice_of(grid, axis, dims, patch, window);
  }
  return positions;
}

Positions image_positions(const Eigen::Matrix3d& affine, const Index3& shift, const Index3& image) {
  Positions positions;
  for (int axis = 0; axis < 3; ++axis) {
    double offset = middle_of(image[axis]);
    for (int of = 0; of < 3; ++of) {
      const double entry = through_float(affine(axis, of));
      positions.to_window(axis, of) = entry;
      offset += entry * (static_cast<double>(shift[of]) - middle_of(image[of]));
    }
    positions.to_window.translation()[axis] = offset;
  }
  return positions;
}

}  // namespace fastnnunet::warp
