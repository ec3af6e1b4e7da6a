// Voxels around the positions of one run of a piece, and how they are reached in a view of the window's box.
#pragma once

#include <cstdint>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/sample/moves/flips.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/positions.h"
#include "hwy/cache_control.h"

namespace fastnnunet::warp {

struct Strides {
  std::int64_t x, y;
  std::int64_t up;  // from a voxel to its upper corner along X
  template <typename T>
  Strides(const sample::SourceView<T>& view, const Pieces& pieces)
      : x(view.plane_step), y(view.row_step), up(pieces.flat() ? 0 : x) {}
  std::int64_t of(const AxisPositions (&axes)[3], std::int64_t k) const {
    return axes[0].whole[k] * x + axes[1].whole[k] * y + axes[2].whole[k];
  }
};

// Positions [first, last) of a piece, all of which lie alike.
struct RunOfPositions {
  const AxisPositions (&axes)[3];
  std::int64_t first, last;
  Place place;
  const std::int32_t* offsets;  // of the view's steps; where all corners lie inside
};

// A row of a turned patch runs through many rows of the volume, which the processor does not foresee. What the patch's
// planes that come next need lies about as many planes ahead in the volume; it is asked for once for some voxels.
inline constexpr std::int64_t kPlanesAhead = 3;

// That there is any memory so many elements beyond `at` need not be certain.
template <typename T>
HWY_INLINE void fetch_ahead(const T* at, std::int64_t elements) {
  hwy::Prefetch(reinterpret_cast<const T*>(reinterpret_cast<std::uintptr_t>(at) +
                                           static_cast<std::uintptr_t>(elements) * sizeof(T)));
}

// The eight corners of a position that may reach outside.
template <typename T>
void corners(const sample::SourceView<T>& view, const Strides& strides, const AxisPositions (&axes)[3], std::int64_t k,
             T outside, T (&values)[8]) {
  const Box all = Box::of_shape(view.box.shape());
  for (int corner = 0; corner < 8; ++corner) {
    const Index3 at{axes[0].whole[k] + (corner >> 2), axes[1].whole[k] + ((corner >> 1) & 1),
                    axes[2].whole[k] + (corner & 1)};
    values[corner] = base::contains(all, at) ? view.data[at[0] * strides.x + at[1] * strides.y + at[2]] : outside;
  }
}

// Which of the eight corners torch's 'nearest' takes: round-half-to-even of the position in the window.
inline int nearest_corner(const AxisPositions (&axes)[3], std::int64_t k, const Index3& lower) {
  int corner = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const float fraction = axes[axis].fraction[k];
    const bool below_is_odd = ((axes[axis].whole[k] + lower[axis]) & 1) != 0;
    const bool upper = fraction > 0.5f || (fraction == 0.5f && below_is_odd);
    corner |= static_cast<int>(upper) << (2 - axis);
  }
  return corner;
}

template <typename T>
void take_nearest(const sample::SourceView<T>& view, const Strides& strides, const RunOfPositions& run, T outside,
                  T* out) {
  const Box all = Box::of_shape(view.box.shape());
  for (std::int64_t k = run.first; k < run.last; ++k) {
    const int corner = nearest_corner(run.axes, k, view.box.lower);
    const int up[3] = {corner >> 2, (corner >> 1) & 1, corner & 1};
    const bool within =
        run.place == kInside || base::contains(all, Index3{run.axes[0].whole[k] + up[0], run.axes[1].whole[k] + up[1],
                                                           run.axes[2].whole[k] + up[2]});
    out[k] = within ? view.data[strides.of(run.axes, k) + up[0] * strides.up + up[1] * strides.y + up[2]] : outside;
  }
}

// Where a row of the patch begins in what is written.
inline std::int64_t row_of(std::int64_t i, std::int64_t j, const Index3& patch, const sample::Flips& flips) {
  return (sample::flipped(i, patch[0], flips[0]) * patch[1] + sample::flipped(j, patch[1], flips[1])) * patch[2];
}

}  // namespace fastnnunet::warp
