// Voxels of each class, from which nnU-Net's loader chooses the centres of foreground patches.
#pragma once

#include <cstdint>
#include <vector>

#include "fastnnunet/base/box.h"

namespace fastnnunet::preprocessing {

struct LocationOptions {
  std::uint32_t seed = 1234;
  std::int64_t least = 10000;    // voxels of a class, or all that there are
  double least_coverage = 0.01;  // of the voxels of a class
};

// For each class, which is one label or the labels of a region: chosen voxels, as rows (0, x, y, z). The same rows in
// the same order as nnU-Net's `_sample_foreground_locations`. labels: (X, Y, Z), fewer than 2^32 voxels; else throws
// InvalidArgument.
std::vector<std::vector<std::int64_t>> sample_locations(const std::int16_t* labels, const Index3& shape,
                                                        const std::vector<std::vector<int>>& classes,
                                                        const LocationOptions& options);

}  // namespace fastnnunet::preprocessing
