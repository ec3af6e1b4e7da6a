// Shapes and boxes of voxels. Axes are always three, in nnU-Net's order (X, Y, Z with Z contiguous in memory); a 2D
// image is one slice, X = 1.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace fastnnunet {

using Index3 = std::array<std::int64_t, 3>;

constexpr std::int64_t voxels(const Index3& shape) { return shape[0] * shape[1] * shape[2]; }

// Half-open on every axis, as all of nnU-Net's bounding boxes.
struct Box {
  Index3 lower{};
  Index3 upper{};

  constexpr Index3 shape() const { return {upper[0] - lower[0], upper[1] - lower[1], upper[2] - lower[2]}; }
  constexpr bool empty() const { return lower[0] >= upper[0] || lower[1] >= upper[1] || lower[2] >= upper[2]; }
  constexpr bool operator==(const Box&) const = default;

  constexpr Box intersect(const Box& other) const {
    Box common;
    for (int axis = 0; axis < 3; ++axis) {
      common.lower[axis] = std::max(lower[axis], other.lower[axis]);
      common.upper[axis] = std::max(common.lower[axis], std::min(upper[axis], other.upper[axis]));
    }
    return common;
  }

  constexpr Box shifted(const Index3& offset) const {
    Box moved = *this;
    for (int axis = 0; axis < 3; ++axis) {
      moved.lower[axis] += offset[axis];
      moved.upper[axis] += offset[axis];
    }
    return moved;
  }

  static constexpr Box of_shape(const Index3& shape) { return {{0, 0, 0}, shape}; }
};

}  // namespace fastnnunet
