#include "fastnnunet/resampling/lines.h"

#include <algorithm>

#define HWY_TARGET_INCLUDE "fastnnunet/resampling/lines.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::resampling::HWY_NAMESPACE {
namespace {

// The filter of a cubic spline has one pole, sqrt(3) - 2.
constexpr float kPole = -0.26794919243112270647f;

// c: (2 + n + 2, kLanes), values from the third row on. A causal and an anticausal recursion; before the first value
// and after the last one both have closed forms, for the values there are constant.
void spline_coefficients(float* HWY_RESTRICT c, std::int64_t n) {
  constexpr float kSteady = 1.0f / (1.0f - kPole);
  float* first = c + kLineMargin * kLanes;
  float* last = first + (n - 1) * kLanes;
  alignas(64) float steady_left[kLanes], steady_right[kLanes];
  for (std::int64_t l = 0; l < kLanes; ++l) {
    steady_left[l] = first[l] * kSteady;
    steady_right[l] = last[l] * kSteady;
    first[l] = steady_left[l];
  }
  for (float* row = first + kLanes; row <= last; row += kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) row[l] += kPole * row[l - kLanes];

  constexpr float kSquare = 1.0f - kPole * kPole;
  for (std::int64_t l = 0; l < kLanes; ++l) {
    const float level = -kPole * kSteady * steady_right[l];
    const float rest = -kPole / kSquare * (last[l] - steady_right[l]);
    last[l] = level + rest;
    last[l + kLanes] = level + kPole * rest;
    last[l + 2 * kLanes] = level + kPole * kPole * rest;
  }
  for (float* row = last - kLanes; row >= first; row -= kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) row[l] = kPole * (row[l + kLanes] - row[l]);
  for (std::int64_t l = 0; l < kLanes; ++l) {
    first[l - kLanes] = kPole * (first[l] - steady_left[l]);
    first[l - 2 * kLanes] = kPole * (first[l - kLanes] - steady_left[l]);
  }
}

template <int kTaps, bool kFinish>
HWY_INLINE void combine(const std::int32_t* HWY_RESTRICT start, const float* HWY_RESTRICT weights, std::int64_t n,
                        const float* HWY_RESTRICT lines, std::int64_t lanes, float* HWY_RESTRICT out,
                        std::int64_t stride, const Finish& finish) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float* rows = lines + start[i] * kLanes;
    const float* w = weights + i * kTaps;
    float* to = out + i * stride;
    for (std::int64_t l = 0; l < lanes; ++l) {
      float value = rows[l];
      if constexpr (kTaps == 2) value = w[0] * rows[l] + w[1] * rows[l + kLanes];
      if constexpr (kTaps == 4)
        value =
            (w[0] * rows[l] + w[1] * rows[l + kLanes]) + (w[2] * rows[l + 2 * kLanes] + w[3] * rows[l + 3 * kLanes]);
      if constexpr (kFinish) {
        value += finish.add;
        value = value < finish.low ? finish.low : value;
        value = value > finish.high ? finish.high : value;
      }
      to[l] = value;
    }
  }
}

HWY_INLINE void combine_any(int taps, const std::int32_t* start, const float* weights, std::int64_t n,
                            const float* lines, std::int64_t lanes, float* out, std::int64_t stride,
                            const Finish* finish) {
  const Finish none;
  if (taps == 1) return combine<1, false>(start, weights, n, lines, lanes, out, stride, none);
  if (taps == 2) {
    if (finish == nullptr) return combine<2, false>(start, weights, n, lines, lanes, out, stride, none);
    return combine<2, true>(start, weights, n, lines, lanes, out, stride, *finish);
  }
  if (finish == nullptr) return combine<4, false>(start, weights, n, lines, lanes, out, stride, none);
  return combine<4, true>(start, weights, n, lines, lanes, out, stride, *finish);
}

// A full bundle has a width that the compiler knows.
void combine_full(int taps, const std::int32_t* start, const float* weights, std::int64_t n, const float* lines,
                  float* out, std::int64_t stride, const Finish* finish) {
  combine_any(taps, start, weights, n, lines, kLanes, out, stride, finish);
}

void combine_part(int taps, const std::int32_t* start, const float* weights, std::int64_t n, const float* lines,
                  std::int64_t lanes, float* out, std::int64_t stride, const Finish* finish) {
  combine_any(taps, start, weights, n, lines, lanes, out, stride, finish);
}

void subtract_row(const float* HWY_RESTRICT from, std::int64_t count, float subtract, float* HWY_RESTRICT to) {
  for (std::int64_t l = 0; l < count; ++l) to[l] = from[l] - subtract;
}

}  // namespace
}  // namespace fastnnunet::resampling::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::resampling {
namespace {

FASTNNUNET_DISPATCH(spline_coefficients);
FASTNNUNET_DISPATCH(combine_full);
FASTNNUNET_DISPATCH(combine_part);
FASTNNUNET_DISPATCH(subtract_row);

// Transposed in tiles, so that each line of the cache is whole when it is left.
constexpr std::int64_t kTile = 16;

}  // namespace

void load_lines(const float* data, std::int64_t stride, std::int64_t n, std::int64_t lanes, float subtract,
                float* lines) {
  lines += kLineMargin * kLanes;
  for (std::int64_t i = 0; i < n; ++i, lines += kLanes) {
    subtract_row(data + i * stride, lanes, subtract, lines);
    if (lanes < kLanes) std::fill(lines + lanes, lines + kLanes, 0.0f);
  }
}

void load_lines_transposed(const float* data, std::int64_t stride, std::int64_t n, std::int64_t lanes, float subtract,
                           float* lines) {
  lines += kLineMargin * kLanes;
  if (lanes < kLanes) std::fill(lines, lines + n * kLanes, 0.0f);
  for (std::int64_t begin = 0; begin < n; begin += kTile) {
    const std::int64_t end = std::min(begin + kTile, n);
    for (std::int64_t l = 0; l < lanes; ++l)
      for (std::int64_t i = begin; i < end; ++i) lines[i * kLanes + l] = data[l * stride + i] - subtract;
  }
}

void store_lines_transposed(const float* lines, std::int64_t n, std::int64_t lanes, float* data, std::int64_t stride) {
  for (std::int64_t begin = 0; begin < n; begin += kTile) {
    const std::int64_t end = std::min(begin + kTile, n);
    for (std::int64_t l = 0; l < lanes; ++l)
      for (std::int64_t i = begin; i < end; ++i) data[l * stride + i] = lines[i * kLanes + l];
  }
}

void prepare_lines(const LineAxis& axis, float* lines) {
  if (axis.taps == 4) return spline_coefficients(lines, axis.from);
  if (axis.taps == 2) {
    float* after = lines + (kLineMargin + axis.from) * kLanes;
    const float* mirrored = axis.from > 1 ? after - 2 * kLanes : after - kLanes;
    std::copy(mirrored, mirrored + kLanes, after);
  }
}

void combine_lines(const LineAxis& axis, const float* lines, std::int64_t lanes, float* out, std::int64_t stride,
                   const Finish* finish) {
  if (lanes == kLanes)
    combine_full(axis.taps, axis.start.data(), axis.weights.data(), axis.to, lines, out, stride, finish);
  else
    combine_part(axis.taps, axis.start.data(), axis.weights.data(), axis.to, lines, lanes, out, stride, finish);
}

}  // namespace fastnnunet::resampling
#endif  // HWY_ONCE
