#include "fastnnunet/warp/interpolation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "fastnnunet/base/simd/clones.h"
#include "fastnnunet/base/simd/vectors.h"

namespace fastnnunet {
namespace {

struct Strides {
  std::int64_t x, y;
  std::int64_t up;  // from a voxel to its upper corner along X
  template <typename T>
  Strides(const SourceView<T>& view, const Pieces& pieces)
      : x(view.plane_step), y(view.row_step), up(pieces.flat() ? 0 : x) {}
  std::int64_t of(const AxisPositions (&axes)[3], std::int64_t k) const {
    return axes[0].whole[k] * x + axes[1].whole[k] * y + axes[2].whole[k];
  }
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

// Along Y, then X, then Z, as everywhere here: the order decides about the last bit.
float interpolate(const float (&v)[8], float fx, float fy, float fz) {
  const float below_0 = v[0] + fy * (v[2] - v[0]), below_1 = v[1] + fy * (v[3] - v[1]);
  const float above_0 = v[4] + fy * (v[6] - v[4]), above_1 = v[5] + fy * (v[7] - v[5]);
  const float z0 = below_0 + fx * (above_0 - below_0), z1 = below_1 + fx * (above_1 - below_1);
  return z0 + fz * (z1 - z0);
}

// Where the voxels below a piece's positions lie in a channel. All channels with the same steps share them.
FASTNNUNET_CLONES
void place_all(const AxisPositions* FASTNNUNET_RESTRICT axes, std::int32_t stride_x, std::int32_t stride_y,
               std::int64_t first, std::int64_t last, std::int32_t* FASTNNUNET_RESTRICT offsets) {
  for (std::int64_t k = first; k < last; ++k)
    offsets[k] = axes[0].whole[k] * stride_x + axes[1].whole[k] * stride_y + axes[2].whole[k];
}

// A row of a turned patch runs through many rows of the volume, which the processor does not foresee. What the patch's
// planes that come next need lies about as many planes ahead in the volume; it is asked for once for some voxels.
constexpr std::int64_t kPlanesAhead = 3;

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

// The four neighbouring rows of a row whose place is (fx, fy) of the way from the first to the last.
FASTNNUNET_CLONES
void mix_rows(const float* r00, const float* r01, const float* r10, const float* r11, std::int64_t count, float fx,
              float fy, float* FASTNNUNET_RESTRICT out) {
  for (std::int64_t z = 0; z < count; ++z) {
    const float y0 = r00[z] + fy * (r01[z] - r00[z]), y1 = r10[z] + fy * (r11[z] - r10[z]);
    out[z] = y0 + fx * (y1 - y0);
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

constexpr std::int64_t kLongestRow = 4096;

// Where a row of the patch begins in what is written.
std::int64_t row_of(std::int64_t i, std::int64_t j, const Index3& patch, const Flips& flips) {
  return (flipped(i, patch[0], flips[0]) * patch[1] + flipped(j, patch[1], flips[1])) * patch[2];
}

// Where the axes do not mix, rows are mixed as a whole, and then interpolated along themselves.
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

// float32 rounded to float16's precision, ties to even. bgv2 compares label scores in float16, where near ties are
// ties. Scores that small that float16 would make them subnormal never win.
FASTNNUNET_INLINE float to_half_precision(float value) {
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
FASTNNUNET_INLINE std::uint32_t pair_at(const std::int16_t* labels) {
  std::uint32_t pair;
  std::memcpy(&pair, labels, sizeof(pair));
  return pair;
}

// Nearly everywhere all eight neighbours agree, however many labels there are. `out` gets the lowest corner's label,
// and `differ` tells where that is not all. Returns whether it is not all anywhere.
FASTNNUNET_CLONES
bool agree(const std::int16_t* FASTNNUNET_RESTRICT data, const std::int32_t* FASTNNUNET_RESTRICT offsets,
           std::int32_t stride_y, std::int32_t up, std::int64_t first, std::int64_t last,
           std::int16_t* FASTNNUNET_RESTRICT out, std::uint32_t* FASTNNUNET_RESTRICT differ) {
  std::uint32_t any = 0;
  constexpr std::int64_t kFew = 8;  // labels are half as wide as intensities
  for (std::int64_t begin = first; begin < last; begin += kFew) {
    fetch_ahead(data + offsets[begin], kPlanesAhead * up);
    const std::int64_t end = std::min(begin + kFew, last);
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int16_t* p = data + offsets[k];
      const std::uint32_t pair = pair_at(p);
      const std::uint32_t other = (pair ^ pair_at(p + stride_y)) | (pair ^ pair_at(p + up)) |
                                  (pair ^ pair_at(p + up + stride_y)) | (pair ^ std::rotl(pair, 16));
      differ[k] = other;
      any |= other;
      out[k] = static_cast<std::int16_t>(pair & 0xFFFFu);
    }
  }
  return any != 0;
}

// a where the mask is -1, b where it is 0.
FASTNNUNET_INLINE std::int32_t pick(std::int32_t mask, std::int32_t a, std::int32_t b) { return b ^ ((a ^ b) & mask); }

// -1 where the nearest voxel is the upper one: halves go to the even one of the window.
FASTNNUNET_INLINE std::int32_t upper_mask(float fraction, std::int32_t below) {
  const std::int32_t above_half = fraction > 0.5f ? -1 : 0;
  const std::int32_t half = fraction == 0.5f ? -1 : 0;
  return above_half | (half & -(below & 1));
}

// vote() for the positions `list` of a piece, whose corners all lie in the view, as long as there are two labels among
// them: `more` tells where there are others, and `out` is then of no use. Nearly all boundaries are between two labels.
// `nearest` and `highest` are masks: the tiebreak.
FASTNNUNET_CLONES
void vote_between_two(const std::int16_t* FASTNNUNET_RESTRICT data, const std::int32_t* FASTNNUNET_RESTRICT offsets,
                      std::int32_t stride_y, std::int32_t up, const AxisPositions* FASTNNUNET_RESTRICT axes,
                      const Index3& lower, const std::int32_t* FASTNNUNET_RESTRICT list, std::int32_t count,
                      std::int32_t nearest, std::int32_t highest, std::int32_t* FASTNNUNET_RESTRICT out,
                      std::int32_t* FASTNNUNET_RESTRICT more) {
  constexpr float kScale = 1000.0f;
  const std::int32_t odd_x = static_cast<std::int32_t>(lower[0] & 1), odd_y = static_cast<std::int32_t>(lower[1] & 1),
                     odd_z = static_cast<std::int32_t>(lower[2] & 1);
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t k = list[i];
    const std::int32_t at_x = axes[0].whole[k], at_y = axes[1].whole[k], at_z = axes[2].whole[k];
    const float fx = axes[0].fraction[k], fy = axes[1].fraction[k], fz = axes[2].fraction[k];
    const std::int16_t* p = data + offsets[k];
    const std::uint32_t pairs[4] = {pair_at(p), pair_at(p + stride_y), pair_at(p + up), pair_at(p + up + stride_y)};
    std::int32_t label[8];
    for (int pair = 0; pair < 4; ++pair) {
      // Labels are told apart as they are; which of two is higher needs their signs.
      label[2 * pair] = static_cast<std::int32_t>(pairs[pair] << 16) >> 16;
      label[2 * pair + 1] = static_cast<std::int32_t>(pairs[pair]) >> 16;
    }
    const float wx[2] = {1.0f - fx, fx}, wy[2] = {1.0f - fy, fy}, wz[2] = {1.0f - fz, fz};
    const std::int32_t one = label[0];
    std::int32_t other = one;
    float weight_one = 0.0f, weight_other = 0.0f;
    for (int corner = 7; corner > 0; --corner) other = label[corner] != one ? label[corner] : other;
    std::int32_t third = 0;
    for (int corner = 0; corner < 8; ++corner) {
      const float w = wx[corner >> 2] * wy[(corner >> 1) & 1] * wz[corner & 1];
      const bool is_one = label[corner] == one;
      weight_one += is_one ? w : 0.0f;
      weight_other += is_one ? 0.0f : w;
      third |= is_one ? 0 : label[corner] ^ other;
    }
    // As nearest_corner(), in masks: nested choices are branches to a compiler.
    const std::int32_t x = upper_mask(fx, at_x + odd_x), y = upper_mask(fy, at_y + odd_y),
                       z = upper_mask(fz, at_z + odd_z);
    const std::int32_t below = pick(y, pick(z, label[3], label[2]), pick(z, label[1], label[0]));
    const std::int32_t above = pick(y, pick(z, label[7], label[6]), pick(z, label[5], label[4]));
    const std::int32_t higher = one > other ? one : other, smaller = one > other ? other : one;
    const std::int32_t tied = pick(nearest, pick(x, above, below), pick(highest, higher, smaller));
    const float score_one = to_half_precision(kScale * weight_one);
    const float score_other = to_half_precision(kScale * weight_other);
    const std::int32_t winner = score_one > score_other ? one : other;
    out[i] = score_one == score_other ? tied : winner;
    more[i] = third;
  }
}

struct RunOfPositions {
  const AxisPositions (&axes)[3];
  std::int64_t first, last;
  Place place;
  const std::int32_t* offsets;  // of the view's steps; where all corners lie inside
};

template <typename T>
void take_nearest(const SourceView<T>& view, const Strides& strides, const RunOfPositions& run, T outside, T* out) {
  const Index3 shape = view.box.shape();
  for (std::int64_t k = run.first; k < run.last; ++k) {
    const int corner = nearest_corner(run.axes, k, view.box.lower);
    const std::int64_t up[3] = {corner >> 2, (corner >> 1) & 1, corner & 1};
    bool within = true;
    for (int axis = 0; run.place != kInside && axis < 3; ++axis) {
      const std::int64_t at = run.axes[axis].whole[k] + up[axis];
      within = within && at >= 0 && at < shape[axis];
    }
    out[k] = within ? view.data[strides.of(run.axes, k) + up[0] * strides.up + up[1] * strides.y + up[2]] : outside;
  }
}

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

void vote_run(const SourceView<std::int16_t>& view, const Strides& strides, const RunOfPositions& run,
              std::int16_t outside, Tiebreak tiebreak, std::int16_t* out) {
  if (run.place == kOutside) {
    std::fill(out + run.first, out + run.last, outside);
    return;
  }
  const auto decide = [&](std::int64_t k) {
    std::int16_t labels[8];
    corners(view, strides, run.axes, k, outside, labels);
    out[k] = vote(labels, run.axes[0].fraction[k], run.axes[1].fraction[k], run.axes[2].fraction[k],
                  nearest_corner(run.axes, k, view.box.lower), tiebreak);
  };
  if (run.place == kAcross) {
    for (std::int64_t k = run.first; k < run.last; ++k) decide(k);
    return;
  }
  alignas(64) std::uint32_t differ[kPiece];
  const auto stride_y = static_cast<std::int32_t>(strides.y), up = static_cast<std::int32_t>(strides.up);
  if (!agree(view.data, run.offsets, stride_y, up, run.first, run.last, out, differ)) return;
  std::int32_t list[kPiece], voted[kPiece], more[kPiece];
  std::int32_t boundary = 0;
  for (std::int64_t k = run.first; k < run.last; ++k) {
    list[boundary] = static_cast<std::int32_t>(k);
    boundary += differ[k] != 0;
  }
  vote_between_two(view.data, run.offsets, stride_y, up, run.axes, view.box.lower, list, boundary,
                   tiebreak == Tiebreak::nearest ? -1 : 0, tiebreak == Tiebreak::highest ? -1 : 0, voted, more);
  for (std::int32_t i = 0; i < boundary; ++i) {
    if (more[i] == 0)
      out[list[i]] = static_cast<std::int16_t>(voted[i]);
    else
      decide(list[i]);
  }
}

void resample_run(const ImageResampling& image, const SourceView<float>& view, const RunOfPositions& run,
                  const Pieces& pieces, float* out) {
  if (image.interpolation == Interpolation::linear)
    interpolate_run(view, Strides(view, pieces), run, image.outside, out);
  else
    take_nearest(view, Strides(view, pieces), run, image.outside, out);
}

void resample_run(const LabelResampling& labels, const SourceView<std::int16_t>& view, const RunOfPositions& run,
                  const Pieces& pieces, std::int16_t* out) {
  if (labels.interpolation == Interpolation::linear)
    vote_run(view, Strides(view, pieces), run, labels.outside, labels.tiebreak, out);
  else
    take_nearest(view, Strides(view, pieces), run, labels.outside, out);
}

}  // namespace

namespace {

// Planes [lower, upper) of the patch.
void resample_planes(const Positions& positions, const Index3& patch, const Index3& window, const Box& box,
                     const ImageResampling* image, const LabelResampling* labels, std::int64_t lower,
                     std::int64_t upper) {
  Pieces pieces(positions, patch, window, box);
  const std::int64_t size = voxels(patch);
  // Differences of infinities are none.
  if (image != nullptr && image->interpolation == Interpolation::linear && pieces.separable() &&
      box.shape()[2] <= kLongestRow && std::isfinite(image->outside)) {
    for (std::size_t c = 0; c < image->channels.size(); ++c)
      interpolate_separably(image->channels[c], pieces, patch, lower, upper, image->outside, image->flips,
                            image->out + static_cast<std::int64_t>(c) * size);
    image = nullptr;
  }
  if (image == nullptr && labels == nullptr) return;
  for_each_run(
      pieces, patch, lower, upper,
      [&](const Index3& at, const AxisPositions(&axes)[3], std::int64_t first, std::int64_t last, Place place) {
        alignas(64) std::int32_t offsets[kPiece];
        std::int64_t plane_step = -1, row_step = -1;  // that these are of
        const RunOfPositions run{axes, first, last, place, offsets};
        const auto each = [&](const auto* what) {
          if (what == nullptr || what->channels.empty()) return;
          const auto& steps = what->channels.front();
          if (place == kInside && (steps.plane_step != plane_step || steps.row_step != row_step)) {
            plane_step = steps.plane_step, row_step = steps.row_step;
            place_all(axes, static_cast<std::int32_t>(plane_step), static_cast<std::int32_t>(row_step), first, last,
                      offsets);
          }
          const std::int64_t row = row_of(at[0], at[1], patch, what->flips);
          for (std::size_t c = 0; c < what->channels.size(); ++c) {
            auto* const out = what->out + static_cast<std::int64_t>(c) * size + row;
            if (!what->flips[2]) {
              resample_run(*what, what->channels[c], run, pieces, out + at[2]);
              continue;
            }
            std::remove_reference_t<decltype(*out)> reversed[kPiece];
            resample_run(*what, what->channels[c], run, pieces, reversed);
            copy_reversed(reversed + first, last - first, out + patch[2] - at[2] - last);
          }
        };
        each(image);
        each(labels);
      });
}

}  // namespace

void resample(const Workspace& workspace, const Positions& positions, const Index3& patch, const Index3& window,
              const Box& box, const ImageResampling* image, const LabelResampling* labels) {
  workspace.share(patch[0], [&](std::int64_t lower, std::int64_t upper) {
    resample_planes(positions, patch, window, box, image, labels, lower, upper);
  });
}

}  // namespace fastnnunet
