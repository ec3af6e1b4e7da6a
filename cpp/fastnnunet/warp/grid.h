// batchgeneratorsv2's grid: which position of the window each voxel of the patch takes.
#pragma once

#include <Eigen/Geometry>

#include "fastnnunet/warp/positions.h"

namespace fastnnunet::warp {

// Of `dims` angles and scales the matrix in the last `dims` of three axes. 3D: rotations about X, then Y, then Z, of a
// scaling along the axes (bgv2's create_affine_matrix_3d). 2D: a rotation by the second angle of a scaling by the first
// two scales (create_affine_matrix_2d, as bgv2 calls it).
Eigen::Matrix3d affine_matrix(int dims, const double (&angles)[3], const double (&scales)[3]);

// affine.linear() * (identity + displacements) + affine.translation(), in the last `dims` of three axes.
struct Grid {
  Eigen::Affine3d affine = Eigen::Affine3d::Identity();  // its translation: the patch's centre, in voxels of the window
  bool centred = true;                                   // the mean of the displaced grid is at the centre
  bool align_corners = false;
};

// `displacements` may be null, and must outlive the positions.
Positions grid_positions(const Grid& grid, int dims, const Index3& patch, const Index3& window,
                         const Displacements* displacements, Border border);

// Those of an image in itself: turned and scaled about its middle, and then shifted, so that voxel i of the result is
// voxel i + shift of what was turned.
Positions image_positions(const Eigen::Matrix3d& affine, const Index3& shift, const Index3& image);

}  // namespace fastnnunet::warp
