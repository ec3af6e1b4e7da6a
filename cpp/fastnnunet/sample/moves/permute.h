// Voxels of one channel change places: axes are turned around or exchanged. The shape, (X, Y, Z), must be kept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/memory/workspace.h"
#include "fastnnunet/sample/moves/moves.h"

namespace fastnnunet::sample {

// From voxels that lie `strides` apart along X, Y and Z; the last is 1. For float and int16.
template <typename T>
void copy_permuted(const Workspace& workspace, const T* from, const Index3& strides, const Index3& shape,
                   const AxisPermutation& permutation, T* out);

// Where axes change places, through scratch buffers 0 and 4. For float, int16 and the bytes of regions.
template <typename T>
void permute_in_place(Workspace& workspace, T* data, const Index3& shape, const AxisPermutation& permutation);

// What the latter takes, at most.
inline Workspace::ScratchSizes permutation_scratch(const Index3& shape) {
  Workspace::ScratchSizes bytes{static_cast<std::size_t>(voxels(shape)) * sizeof(float)};
  bytes[4] = static_cast<std::size_t>(shape[0] * shape[1]);
  return bytes;
}

}  // namespace fastnnunet::sample
