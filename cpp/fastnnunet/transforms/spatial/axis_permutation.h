// Axes that change places and direction, all at once: what TransposeAxesTransform and Rot90Transform share.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "fastnnunet/transforms/transform.h"

namespace fastnnunet {

struct AxisPermutation {
  // Axis `a` of the result is axis `from[a]` of the source, backwards where `reversed[a]`. Axes are those of Index3.
  std::array<int, 3> from{0, 1, 2};
  std::array<bool, 3> reversed{};

  bool operator==(const AxisPermutation&) const = default;
  bool keeps(const Index3& shape) const;  // the shape of the result is that of the source
  // torch.rot90's turn of the plane of two axes, after what is there already.
  void turn(int first, int second);
};

// Image and segmentation (or regions), channel by channel, through scratch buffers 0 and 1. Their shape must be kept.
void permute(Sample& sample, const AxisPermutation& permutation, std::string_view owner);
inline Workspace::ScratchSizes permutation_scratch(const Geometry& geometry) {
  return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float),
          static_cast<std::size_t>(geometry.shape[0] * geometry.shape[1])};
}

// Throws InvalidArgument where an axis is negative or there twice.
void check_axes(std::string_view owner, const std::vector<std::int64_t>& axes);
// Throws InvalidArgument where an axis is not there, or with `equal` where two of them differ in size.
void check_axes(std::string_view owner, const std::vector<std::int64_t>& axes, const Geometry& geometry, bool equal);

}  // namespace fastnnunet
