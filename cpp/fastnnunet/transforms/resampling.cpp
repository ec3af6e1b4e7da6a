#include "fastnnunet/transforms/resampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "fastnnunet/base/clones.h"

namespace fastnnunet {
namespace {

// A row of the patch is worked on in pieces, so that its positions stay in registers and first-level cache.
constexpr std::int64_t kPiece = 128;

// Positions of one piece along one axis: the voxel below and how far beyond it.
struct AxisPositions {
  alignas(64) std::int32_t whole[kPiece];
  alignas(64) float fraction[kPiece];
};

FASTNNUNET_CLONES
void axis_positions(double start, double step, std::int64_t count, AxisPositions& out) {
  for (std::int64_t k = 0; k < count; ++k) {
    double at = start + step * static_cast<double>(k);
    at = at < -1e8 ? -1e8 : at;
    at = at > 1e8 ? 1e8 : at;
    // Truncation corrected to floor: conversions vectorise on every x86-64, floor does not.
    std::int32_t whole = static_cast<std::int32_t>(at);
    whole -= static_cast<double>(whole) > at;
    out.whole[k] = whole;
    out.fraction[k] = static_cast<float>(at - static_cast<double>(whole));
  }
}

// The part [first, last) of a piece whose eight corners all lie in the view. Positions are linear, so it is one
// interval.
struct Interval {
  std::int64_t first;
  std::int64_t last;
};

Interval inside(const AxisPositions (&axes)[3], const Index3& shape, std::int64_t count) {
  const auto in = [&](std::int64_t k) {
    for (int axis = 0; axis < 3; ++axis)
      if (axes[axis].whole[k] < 0 || axes[axis].whole[k] + 1 >= shape[axis]) return false;
    return true;
  };
  Interval interval{0, count};
  while (interval.first < count && !in(interval.first)) ++interval.first;
  while (interval.last > interval.first && !in(interval.last - 1)) --interval.last;
  return interval;
}

// Calls piece(row, axes, count, interval) for every piece of every row of the patch, with positions relative to the
// box.
template <typename T, typename Piece>
void for_each_piece(const Box& box, const AffinePositions& positions, const Index3& patch, T* out, Piece&& piece) {
  const Index3 shape = box.shape();
  AxisPositions axes[3];
  for (std::int64_t i = 0; i < patch[0]; ++i)
    for (std::int64_t j = 0; j < patch[1]; ++j)
      for (std::int64_t begin = 0; begin < patch[2]; begin += kPiece) {
        const std::int64_t count = std::min(kPiece, patch[2] - begin);
        for (int axis = 0; axis < 3; ++axis) {
          const auto& row = positions.matrix[axis];
          const double start = row[0] * static_cast<double>(i) + row[1] * static_cast<double>(j) +
                               row[2] * static_cast<double>(begin) +
                               (positions.offset[axis] - static_cast<double>(box.lower[axis]));
          axis_positions(start, row[2], count, axes[axis]);
        }
        piece(out + (i * patch[1] + j) * patch[2] + begin, axes, count, inside(axes, shape, count));
      }
}

struct Strides {
  std::int64_t x, y;
  explicit Strides(const Index3& shape) : x(shape[1] * shape[2]), y(shape[2]) {}
};

// The eight corners of a position that may reach outside.
template <typename T>
void corners(const SourceView<T>& view, const Strides& strides, const AxisPositions (&axes)[3], std::int64_t k,
             T outside, T (&values)[8]) {
  const Index3 shape = view.box.shape();
  for (int corner = 0; corner < 8; ++corner) {
    const std::int64_t at[3] = {axes[0].whole[k] + (corner >> 2), axes[1].whole[k] + ((corner >> 1) & 1),
                                axes[2].whole[k] + (corner & 1)};
    bool within = true;
    for (int axis = 0; axis < 3; ++axis) within &= at[axis] >= 0 && at[axis] < shape[axis];
    values[corner] = within ? view.data[at[0] * strides.x + at[1] * strides.y + at[2]] : outside;
  }
}

float interpolate(const float (&v)[8], float fx, float fy, float fz) {
  const float z00 = v[0] + fz * (v[1] - v[0]), z01 = v[2] + fz * (v[3] - v[2]);
  const float z10 = v[4] + fz * (v[5] - v[4]), z11 = v[6] + fz * (v[7] - v[6]);
  const float y0 = z00 + fy * (z01 - z00), y1 = z10 + fy * (z11 - z10);
  return y0 + fx * (y1 - y0);
}

FASTNNUNET_CLONES
void interpolate_inside(const float* FASTNNUNET_RESTRICT data, std::int64_t stride_x, std::int64_t stride_y,
                        const AxisPositions* FASTNNUNET_RESTRICT axes, std::int64_t first, std::int64_t last,
                        float* FASTNNUNET_RESTRICT out) {
  for (std::int64_t k = first; k < last; ++k) {
    const float* p = data + axes[0].whole[k] * stride_x + axes[1].whole[k] * stride_y + axes[2].whole[k];
    const float fz = axes[2].fraction[k], fy = axes[1].fraction[k];
    const float z00 = p[0] + fz * (p[1] - p[0]);
    const float z01 = p[stride_y] + fz * (p[stride_y + 1] - p[stride_y]);
    const float z10 = p[stride_x] + fz * (p[stride_x + 1] - p[stride_x]);
    const float z11 = p[stride_x + stride_y] + fz * (p[stride_x + stride_y + 1] - p[stride_x + stride_y]);
    const float y0 = z00 + fy * (z01 - z00), y1 = z10 + fy * (z11 - z10);
    out[k] = y0 + axes[0].fraction[k] * (y1 - y0);
  }
}

// float32 rounded to float16's precision, ties to even. bgv2 compares label scores in float16, where near ties are
// ties. Scores that small that float16 would make them subnormal never win.
float to_half_precision(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits += 0xFFFu + ((bits >> 13) & 1u);
  return std::bit_cast<float>(bits & ~0x1FFFu);
}

// Which of the eight corners torch's 'nearest' takes: round-half-to-even of the position in the window.
int nearest_corner(const AxisPositions (&axes)[3], std::int64_t k, const Index3& lower) {
  int corner = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const float fraction = axes[axis].fraction[k];
    const bool below_is_odd = ((axes[axis].whole[k] + lower[axis]) & 1) != 0;
    const bool upper = fraction > 0.5f || (fraction == 0.5f && below_is_odd);
    corner |= static_cast<int>(upper) << (2 - axis);
  }
  return corner;
}

// The label that bgv2 gives a position: interpolated indicators times 1000 in float16; ties go to the nearest voxel's
// label if it is among the best, else to the lowest (or highest) of them.
std::int16_t vote(const std::int16_t (&labels)[8], float fx, float fy, float fz, int nearest, Tiebreak tiebreak) {
  constexpr float kScale = 1000.0f;
  const float wx[2] = {1.0f - fx, fx}, wy[2] = {1.0f - fy, fy}, wz[2] = {1.0f - fz, fz};
  std::int16_t found[8];
  float weight[8];
  int count = 0;
  for (int corner = 0; corner < 8; ++corner) {
    const float w = wx[corner >> 2] * wy[(corner >> 1) & 1] * wz[corner & 1];
    int at = 0;
    while (at < count && found[at] != labels[corner]) ++at;
    if (at == count) {
      found[count] = labels[corner];
      weight[count++] = w;
    } else {
      weight[at] += w;
    }
  }
  float best = -1.0f;
  float nearest_weight = -1.0f;
  std::int16_t winner = found[0];
  for (int at = 0; at < count; ++at) {
    const float score = to_half_precision(kScale * weight[at]);
    if (found[at] == labels[nearest]) nearest_weight = score;
    const bool wins_tie = score == best && (tiebreak == Tiebreak::highest ? found[at] > winner : found[at] < winner);
    if (score > best || wins_tie) {
      best = score;
      winner = found[at];
    }
  }
  return tiebreak == Tiebreak::nearest && nearest_weight == best ? labels[nearest] : winner;
}

// Two neighbouring labels of a row at once.
std::uint32_t pair_at(const std::int16_t* labels) {
  std::uint32_t pair;
  std::memcpy(&pair, labels, sizeof(pair));
  return pair;
}

}  // namespace

Box needed_box(const AffinePositions& positions, const Index3& patch, const Index3& window) {
  Box box;
  for (int axis = 0; axis < 3; ++axis) {
    double low = positions.offset[axis], high = positions.offset[axis];
    for (int of = 0; of < 3; ++of) {
      const double reach = positions.matrix[axis][of] * static_cast<double>(patch[of] - 1);
      low += std::min(reach, 0.0);
      high += std::max(reach, 0.0);
    }
    // A margin of 1e-6 voxels for rounding in the rows' own arithmetic.
    low = std::clamp(std::floor(low - 1e-6), -1e9, 1e9);
    high = std::clamp(std::floor(high + 1e-6) + 2.0, -1e9, 1e9);
    box.lower[axis] = std::clamp<std::int64_t>(static_cast<std::int64_t>(low), 0, window[axis]);
    box.upper[axis] = std::clamp<std::int64_t>(static_cast<std::int64_t>(high), box.lower[axis], window[axis]);
  }
  return box;
}

void resample_image(const SourceView<float>& view, const AffinePositions& positions, const Index3& patch, float* out,
                    float outside) {
  const Strides strides(view.box.shape());
  for_each_piece(view.box, positions, patch, out,
                 [&](float* row, const AxisPositions(&axes)[3], std::int64_t count, Interval interval) {
                   const auto careful = [&](std::int64_t k) {
                     float values[8];
                     corners(view, strides, axes, k, outside, values);
                     row[k] = interpolate(values, axes[0].fraction[k], axes[1].fraction[k], axes[2].fraction[k]);
                   };
                   for (std::int64_t k = 0; k < interval.first; ++k) careful(k);
                   interpolate_inside(view.data, strides.x, strides.y, axes, interval.first, interval.last, row);
                   for (std::int64_t k = interval.last; k < count; ++k) careful(k);
                 });
}

void resample_labels(const SourceView<std::int16_t>& view, const AffinePositions& positions, const Index3& patch,
                     std::int16_t* out, std::int16_t outside, Tiebreak tiebreak) {
  const Strides strides(view.box.shape());
  for_each_piece(view.box, positions, patch, out,
                 [&](std::int16_t* row, const AxisPositions(&axes)[3], std::int64_t count, Interval interval) {
                   const auto decide = [&](std::int64_t k) {
                     std::int16_t labels[8];
                     corners(view, strides, axes, k, outside, labels);
                     row[k] = vote(labels, axes[0].fraction[k], axes[1].fraction[k], axes[2].fraction[k],
                                   nearest_corner(axes, k, view.box.lower), tiebreak);
                   };
                   for (std::int64_t k = 0; k < interval.first; ++k) decide(k);
                   for (std::int64_t k = interval.first; k < interval.last; ++k) {
                     const std::int16_t* p =
                         view.data + axes[0].whole[k] * strides.x + axes[1].whole[k] * strides.y + axes[2].whole[k];
                     const std::uint32_t pair = pair_at(p);
                     // Nearly everywhere all eight neighbours agree, however many labels there are.
                     if (((pair ^ pair_at(p + strides.y)) | (pair ^ pair_at(p + strides.x)) |
                          (pair ^ pair_at(p + strides.x + strides.y)) | (pair ^ ((pair >> 16) | (pair << 16)))) == 0)
                       row[k] = p[0];
                     else
                       decide(k);
                   }
                   for (std::int64_t k = interval.last; k < count; ++k) decide(k);
                 });
}

}  // namespace fastnnunet
