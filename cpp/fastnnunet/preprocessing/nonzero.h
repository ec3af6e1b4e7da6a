// The part of an image that is not zero, as nnU-Net's crop_to_nonzero finds it.
#pragma once

#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet::preprocessing {

// The smallest box with every voxel that is not zero in some channel; the whole image where all is zero. image:
// (C, X, Y, Z). NaN is not zero.
Box nonzero_box(const float* image, std::int64_t channels, const Index3& shape, int threads);

// mask (X, Y, Z): 1 where a voxel is not zero in some channel, and in holes of these. A hole is a connected region of
// zeros that does not touch the border; connected are voxels that share a face. Returns whether the mask is 1
// everywhere.
bool nonzero_mask(const float* image, std::int64_t channels, const Index3& shape, int threads, std::uint8_t* mask);

// Fills the holes of a mask of zeros and ones (X, Y, Z).
void fill_holes(std::uint8_t* mask, const Index3& shape);

}  // namespace fastnnunet::preprocessing
