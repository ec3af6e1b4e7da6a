#include "fastnnunet/warp/interpolation.h"

#include <algorithm>
#include <cstring>

#include "fastnnunet/base/simd/clones.h"
#include "fastnnunet/base/simd/rows.h"
#include "fastnnunet/base/simd/vectors.h"

namespace fastnnunet {
namespace {

// Along Y, then X, then Z, as everywhere here: the order decides about the last bit.
float interpolate(const float (&v)[8], float fx, float fy, float fz) {
  const float below_0 = v[0] + fy * (v[2] - v[0]), below_1 = v[1] + fy * (v[3] - v[1]);
  const float above_0 = v[4] + fy * (v[6] - v[4]), above_1 = v[5] + fy * (v[7] - v[5]);
  const float z0 = below_0 + fx * (above_0 - below_0), z1 = below_1 + fx * (above_1 - below_1);
  return z0 + fz * (z1 - z0);
}

#if defined(FASTNNUNET_VECTORS)
// Two voxels at a time, each with its neighbour along Z, which costs no load of its own.
FASTNNUNET_INLINE Floats pairs_at(const float* first, const float* second) {
  Doubles pairs;
  std::memcpy(&pairs, first, 8);
  std::memcpy(reinterpret_cast<char*>(&pairs) + 8, second, 8);
  return reinterpret_cast<Floats>(pairs);
}

// (z0, z1) of two voxels, `fx` and `fy` twice for each of them.
FASTNNUNET_INLINE Floats mix_pairs(const float* first, const float* second, std::int64_t y, std::int64_t up, Floats fx,
                                   Floats fy) {
  const Floats a = pairs_at(first, second), b = pairs_at(first + y, second + y);
  const Floats c = pairs_at(first + up, second + up), d = pairs_at(first + up + y, second + up + y);
  const Floats below = a + fy * (b - a), above = c + fy * (d - c);
  return below + fx * (above - below);
}

FASTNNUNET_CLONES
void interpolate_inside(const float* FASTNNUNET_RESTRICT data, const std::int32_t* FASTNNUNET_RESTRICT offsets,
                        std::int64_t stride_y, std::int64_t up, const AxisPositions* FASTNNUNET_RESTRICT axes,
                        std::int64_t first, std::int64_t last, float* FASTNNUNET_RESTRICT out) {
  std::int64_t k = first;
  for (; k + 4 <= last; k += 4) {
    const auto fx = vector_at<Floats>(axes[0].fraction + k), fy = vector_at<Floats>(axes[1].fraction + k);
    const auto fz = vector_at<Floats>(axes[2].fraction + k);
    fetch_ahead(data + offsets[k], kPlanesAhead * up);
    const Floats one =
        mix_pairs(data + offsets[k], data + offsets[k + 1], stride_y, up, __builtin_shufflevector(fx, fx, 0, 0, 1, 1),
                  __builtin_shufflevector(fy, fy, 0, 0, 1, 1));
    const Floats two =
        mix_pairs(data + offsets[k + 2], data + offsets[k + 3], stride_y, up,
                  __builtin_shufflevector(fx, fx, 2, 2, 3, 3), __builtin_shufflevector(fy, fy, 2, 2, 3, 3));
    const Floats z0 = __builtin_shufflevector(one, two, 0, 2, 4, 6), z1 = __builtin_shufflevector(one, two, 1, 3, 5, 7);
    store(z0 + fz * (z1 - z0), out + k);
  }
#else
void interpolate_inside(const float* data, const std::int32_t* offsets, std::int64_t stride_y, std::int64_t up,
                        const AxisPositions* axes, std::int64_t first, std::int64_t last, float* out) {
  std::int64_t k = first;
#endif
  for (; k < last; ++k) {
    const float* p = data + offsets[k];
    const float* q = p + up;
    const float corners[8] = {p[0], p[1], p[stride_y], p[stride_y + 1], q[0], q[1], q[stride_y], q[stride_y + 1]};
    out[k] = interpolate(corners, axes[0].fraction[k], axes[1].fraction[k], axes[2].fraction[k]);
  }
}

// On either side of the `size` values of `row` lie two of what is outside.
FASTNNUNET_CLONES
void interpolate_row(const float* FASTNNUNET_RESTRICT row, std::int32_t size, const AxisPositions& z,
                     std::int64_t count, float* FASTNNUNET_RESTRICT out) {
  for (std::int64_t k = 0; k < count; ++k) {
    std::int32_t at = z.whole[k] < -2 ? -2 : z.whole[k];
    at = at > size ? size : at;
    out[k] = row[at] + z.fraction[k] * (row[at + 1] - row[at]);
  }
}

}  // namespace

void interpolate_run(const SourceView<float>& view, const Strides& strides, const RunOfPositions& run, float outside,
                     float* out) {
  if (run.place == kInside) {
    interpolate_inside(view.data, run.offsets, strides.y, strides.up, run.axes, run.first, run.last, out);
    return;
  }
  if (run.place == kOutside) {
    std::fill(out + run.first, out + run.last, outside);
    return;
  }
  for (std::int64_t k = run.first; k < run.last; ++k) {
    float values[8];
    corners(view, strides, run.axes, k, outside, values);
    out[k] = interpolate(values, run.axes[0].fraction[k], run.axes[1].fraction[k], run.axes[2].fraction[k]);
  }
}

void interpolate_separably(const SourceView<float>& view, Pieces& pieces, const Index3& patch, std::int64_t lower,
                           std::int64_t upper, float outside, const Flips& flips, float* out) {
  const Index3 shape = view.box.shape();
  const Strides strides(view, pieces);
  float nothing[kLongestRow], padded[kLongestRow + 4];
  float* const mixed = padded + 2;
  std::fill(nothing, nothing + shape[2], outside);
  mixed[-2] = mixed[-1] = mixed[shape[2]] = mixed[shape[2] + 1] = outside;
  float reversed[kPiece];
  for (std::int64_t i = lower; i < upper; ++i)
    for (std::int64_t j = 0; j < patch[1]; ++j)
      for (std::int64_t begin = 0; begin < patch[2]; begin += kPiece) {
        const std::int64_t count = std::min(kPiece, patch[2] - begin);
        const AxisPositions(&axes)[3] = pieces.fill(i, j, begin, count);
        if (begin == 0) {
          const std::int64_t x = axes[0].whole[0], y = axes[1].whole[0];
          const auto row = [&](std::int64_t at_x, std::int64_t at_y) {
            const bool within = at_x >= 0 && at_x < shape[0] && at_y >= 0 && at_y < shape[1];
            return within ? view.data + at_x * strides.x + at_y * strides.y : nothing;
          };
          const std::int64_t above = pieces.flat() ? x : x + 1;
          mix_rows(row(x, y), row(x, y + 1), row(above, y), row(above, y + 1), shape[2], axes[0].fraction[0],
                   axes[1].fraction[0], mixed);
        }
        float* const row = out + row_of(i, j, patch, flips);
        interpolate_row(mixed, static_cast<std::int32_t>(shape[2]), axes[2], count, flips[2] ? reversed : row + begin);
        if (flips[2]) copy_reversed(reversed, count, row + patch[2] - begin - count);
      }
}

}  // namespace fastnnunet
