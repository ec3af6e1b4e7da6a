#include "fastnnunet/warp/resample/label_vote.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "fastnnunet/base/simd/half.h"

#define HWY_TARGET_INCLUDE "fastnnunet/warp/resample/label_vote.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::warp::HWY_NAMESPACE {
namespace {

// bgv2 interpolates 1000 where the label is and 0 elsewhere, in float16: near ties are ties. Scores so small that
// float16 would make them subnormal never win.
HWY_INLINE float score_of(float weight) { return simd::rounded_to_normal_half(1000.0f * weight); }

// Two neighbouring labels of a row at once.
HWY_INLINE std::uint32_t pair_at(const std::int16_t* labels) {
  std::uint32_t pair;
  std::memcpy(&pair, labels, sizeof(pair));
  return pair;
}

// Nearly everywhere all eight neighbours agree, however many labels there are. `out` gets the lowest corner's label,
// and `differ` tells where that is not all. Returns whether it is not all anywhere.
bool agree(const std::int16_t* HWY_RESTRICT data, const std::int32_t* HWY_RESTRICT offsets, std::int32_t stride_y,
           std::int32_t up, std::int64_t first, std::int64_t last, std::int16_t* HWY_RESTRICT out,
           std::uint32_t* HWY_RESTRICT differ) {
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
HWY_INLINE std::int32_t pick(std::int32_t mask, std::int32_t a, std::int32_t b) { return b ^ ((a ^ b) & mask); }

// -1 where the nearest voxel is the upper one: halves go to the even one of the window.
HWY_INLINE std::int32_t upper_mask(float fraction, std::int32_t below) {
  const std::int32_t above_half = fraction > 0.5f ? -1 : 0;
  const std::int32_t half = fraction == 0.5f ? -1 : 0;
  return above_half | (half & -(below & 1));
}

// vote() for the positions `list` of a piece, whose corners all lie in the view, as long as there are two labels among
// them: `more` tells where there are others, and `out` is then of no use. Nearly all boundaries are between two labels.
// `nearest` and `highest` are masks: the tiebreak.
void vote_between_two(const std::int16_t* HWY_RESTRICT data, const std::int32_t* HWY_RESTRICT offsets,
                      std::int32_t stride_y, std::int32_t up, const AxisPositions* HWY_RESTRICT axes,
                      const Index3& lower, const std::int32_t* HWY_RESTRICT list, std::int32_t count,
                      std::int32_t nearest, std::int32_t highest, std::int32_t* HWY_RESTRICT out,
                      std::int32_t* HWY_RESTRICT more) {
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
    const float score_one = score_of(weight_one);
    const float score_other = score_of(weight_other);
    const std::int32_t winner = score_one > score_other ? one : other;
    out[i] = score_one == score_other ? tied : winner;
    more[i] = third;
  }
}

}  // namespace
}  // namespace fastnnunet::warp::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::warp {
namespace {

using HWY_NAMESPACE::score_of;
FASTNNUNET_DISPATCH(agree);
FASTNNUNET_DISPATCH(vote_between_two);

}  // namespace

void vote_run(const sample::SourceView<std::int16_t>& view, const Strides& strides, const RunOfPositions& run,
              std::int16_t outside, base::Tiebreak tiebreak, std::int16_t* out) {
  if (run.place == kOutside) {
    std::fill(out + run.first, out + run.last, outside);
    return;
  }
  const auto decide = [&](std::int64_t k) {
    std::int16_t labels[8];
    corners(view, strides, run.axes, k, outside, labels);
    const float x = run.axes[0].fraction[k], y = run.axes[1].fraction[k], z = run.axes[2].fraction[k];
    out[k] = base::vote<std::int16_t, float>(labels, {1.0f - x, x}, {1.0f - y, y}, {1.0f - z, z},
                                             nearest_corner(run.axes, k, view.box.lower), tiebreak, score_of);
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
                   tiebreak == base::Tiebreak::nearest ? -1 : 0, tiebreak == base::Tiebreak::highest ? -1 : 0, voted,
                   more);
  for (std::int32_t i = 0; i < boundary; ++i) {
    if (more[i] == 0)
      out[list[i]] = static_cast<std::int16_t>(voted[i]);
    else
      decide(list[i]);
  }
}

}  // namespace fastnnunet::warp
#endif  // HWY_ONCE
