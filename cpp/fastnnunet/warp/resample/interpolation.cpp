#include "fastnnunet/warp/resample/interpolation.h"

#include <algorithm>
#include <cstring>

#include "fastnnunet/base/simd/rows.h"

#define HWY_TARGET_INCLUDE "fastnnunet/warp/resample/interpolation.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_mix.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::warp::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::mix;

// Along Y, then X, then Z, as everywhere here: the order decides about the last bit.
HWY_INLINE float interpolate(const float (&v)[8], float fx, float fy, float fz) {
  const float z0 = mix(mix(v[0], v[2], fy), mix(v[4], v[6], fy), fx);
  const float z1 = mix(mix(v[1], v[3], fy), mix(v[5], v[7], fy), fx);
  return mix(z0, z1, fz);
}

#if HWY_TARGET != HWY_SCALAR
// Vectors of 16 bytes for every target: wider ones pay for each shuffle between their halves where processors have
// narrower units.
using Four = hn::FixedTag<float, 4>;
using Floats = hn::Vec<Four>;

// Two voxels at a time, each with its neighbour along Z, which costs no load of its own.
HWY_INLINE Floats pairs_at(const float* first, const float* second) {
  const hn::FixedTag<float, 2> two;
  return hn::Combine(Four(), hn::LoadU(two, second), hn::LoadU(two, first));
}

// (z0, z1) of two voxels, `fx` and `fy` twice for each of them.
HWY_INLINE Floats mix_pairs(const float* first, const float* second, std::int64_t y, std::int64_t up, Floats fx,
                            Floats fy) {
  const Floats below = mix(pairs_at(first, second), pairs_at(first + y, second + y), fy);
  const Floats above = mix(pairs_at(first + up, second + up), pairs_at(first + up + y, second + up + y), fy);
  return mix(below, above, fx);
}
#endif

void interpolate_inside(const float* HWY_RESTRICT data, const std::int32_t* HWY_RESTRICT offsets, std::int64_t stride_y,
                        std::int64_t up, const AxisPositions* HWY_RESTRICT axes, std::int64_t first, std::int64_t last,
                        float* HWY_RESTRICT out) {
  std::int64_t k = first;
#if HWY_TARGET != HWY_SCALAR
  const Four d;
  for (; k + 4 <= last; k += 4) {
    const Floats fx = hn::LoadU(d, axes[0].fraction + k), fy = hn::LoadU(d, axes[1].fraction + k);
    const Floats fz = hn::LoadU(d, axes[2].fraction + k);
    fetch_ahead(data + offsets[k], kPlanesAhead * up);
    const Floats one = mix_pairs(data + offsets[k], data + offsets[k + 1], stride_y, up, hn::InterleaveLower(d, fx, fx),
                                 hn::InterleaveLower(d, fy, fy));
    const Floats two = mix_pairs(data + offsets[k + 2], data + offsets[k + 3], stride_y, up,
                                 hn::InterleaveUpper(d, fx, fx), hn::InterleaveUpper(d, fy, fy));
    hn::StoreU(mix(hn::ConcatEven(d, two, one), hn::ConcatOdd(d, two, one), fz), d, out + k);
  }
#endif
  for (; k < last; ++k) {
    const float* p = data + offsets[k];
    const float* q = p + up;
    const float corners[8] = {p[0], p[1], p[stride_y], p[stride_y + 1], q[0], q[1], q[stride_y], q[stride_y + 1]};
    out[k] = interpolate(corners, axes[0].fraction[k], axes[1].fraction[k], axes[2].fraction[k]);
  }
}

// On either side of the `size` values of `row` lie two of what is outside.
void interpolate_row(const float* HWY_RESTRICT row, std::int32_t size, const AxisPositions& z, std::int64_t count,
                     float* HWY_RESTRICT out) {
  for (std::int64_t k = 0; k < count; ++k) {
    std::int32_t at = z.whole[k] < -2 ? -2 : z.whole[k];
    at = at > size ? size : at;
    out[k] = mix(row[at], row[at + 1], z.fraction[k]);
  }
}

}  // namespace
}  // namespace fastnnunet::warp::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::warp {
namespace {

using HWY_NAMESPACE::interpolate;
FASTNNUNET_DISPATCH(interpolate_inside);
FASTNNUNET_DISPATCH(interpolate_row);

}  // namespace

void interpolate_run(const sample::SourceView<float>& view, const Strides& strides, const RunOfPositions& run,
                     float outside, float* out) {
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

void interpolate_separably(const sample::SourceView<float>& view, Pieces& pieces, const Index3& patch,
                           std::int64_t lower, std::int64_t upper, float outside, const sample::Flips& flips,
                           float* out) {
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
          simd::mix_rows(row(x, y), row(x, y + 1), row(above, y), row(above, y + 1), shape[2], axes[0].fraction[0],
                         axes[1].fraction[0], mixed);
        }
        float* const row = out + row_of(i, j, patch, flips);
        interpolate_row(mixed, static_cast<std::int32_t>(shape[2]), axes[2], count, flips[2] ? reversed : row + begin);
        if (flips[2]) sample::copy_reversed(reversed, count, row + patch[2] - begin - count);
      }
}

}  // namespace fastnnunet::warp
#endif  // HWY_ONCE
