// What the core asks of boxes. See Note [Geometry is Eigen's, boxes of voxels are not].
#pragma once

#include <algorithm>
#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet::base {

constexpr bool contains(const Box& box, const Box& other) { return box.intersect(other) == other; }

constexpr bool contains(const Box& box, const Index3& voxel) {
  bool inside = true;
  for (int axis = 0; axis < 3; ++axis) inside &= voxel[axis] >= box.lower[axis] && voxel[axis] < box.upper[axis];
  return inside;
}

// `box` as seen from `origin`.
constexpr Box relative_to(const Index3& origin, const Box& box) {
  return box.shifted({-origin[0], -origin[1], -origin[2]});
}

// Where a voxel lies in a C-contiguous array of the box.
constexpr std::int64_t offset_in(const Box& box, const Index3& voxel) {
  const Index3 size = box.shape();
  return ((voxel[0] - box.lower[0]) * size[1] + voxel[1] - box.lower[1]) * size[2] + voxel[2] - box.lower[2];
}

// The voxels of `box` that are not in `inner`, which lies in it. out: (X, Y, Z) of the box's shape.
template <typename T>
void fill_outside(const Box& box, const Box& inner, T* out, T value) {
  const auto [planes, rows, columns] = box.shape();
  if (inner.empty()) {
    std::fill(out, out + planes * rows * columns, value);
    return;
  }
  const std::int64_t before = inner.lower[2] - box.lower[2];
  const std::int64_t after = box.upper[2] - inner.upper[2];
  for (std::int64_t x = 0; x < planes; ++x) {
    T* plane = out + x * rows * columns;
    if (box.lower[0] + x < inner.lower[0] || box.lower[0] + x >= inner.upper[0]) {
      std::fill(plane, plane + rows * columns, value);
      continue;
    }
    for (std::int64_t y = 0; y < rows; ++y) {
      T* row = plane + y * columns;
      if (box.lower[1] + y < inner.lower[1] || box.lower[1] + y >= inner.upper[1]) {
        std::fill(row, row + columns, value);
        continue;
      }
      std::fill(row, row + before, value);
      std::fill(row + columns - after, row + columns, value);
    }
  }
}

}  // namespace fastnnunet::base
