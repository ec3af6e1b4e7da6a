// batchgeneratorsv2's grid: which position of the window each voxel of the patch takes.
#pragma once

#include <Eigen/Core>

#include "fastnnunet/warp/positions.h"

namespace fastnnunet {

// Rotations about X, then Y, then Z, of a scaling along the axes (bgv2's create_affine_matrix_3d).
Eigen::Matrix3d affine_3d(const double (&angles)[3], const double (&scales)[3]);
Eigen::Matrix2d affine_2d(double angle, double scale_y, double scale_z);

// affine * (identity + displacements) + centre, in the last `dims` of three axes.
struct Grid {
  Eigen::Matrix3d affine = Eigen::Matrix3d::Identity();
  Eigen::Vector3d centre = Eigen::Vector3d::Zero();  // in voxels of the window
  bool centred = true;                               // the mean of the displaced grid is at the centre
  bool align_corners = false;
};

// `displacements` may be null, and must outlive the positions.
Positions grid_positions(const Grid& grid, int dims, const Index3& patch, const Index3& window,
                         const Displacements* displacements, Border border);

}  // namespace fastnnunet
