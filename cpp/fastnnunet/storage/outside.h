// Boxes that reach beyond an image.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet {

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

}  // namespace fastnnunet
