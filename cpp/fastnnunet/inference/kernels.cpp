#include "fastnnunet/inference/kernels.h"

#include <algorithm>
#include <limits>

#include "fastnnunet/base/simd/half.h"

#define HWY_TARGET_INCLUDE "fastnnunet/inference/kernels.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_math.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::inference::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace math = simd::HWY_NAMESPACE::math;
using simd::HWY_NAMESPACE::each_vector;
using simd::HWY_NAMESPACE::map_values;

HWY_INLINE float to_float(float value) { return value; }

HWY_INLINE float to_float(std::uint16_t half) { return simd::half_to_float(half); }

template <typename T>
HWY_INLINE float kept_precision(float value) {
  if constexpr (sizeof(T) == 2) return simd::rounded_to_half(value);
  return value;
}

constexpr std::int64_t kPiece = 256;

template <typename T>
HWY_INLINE void winners(const T* HWY_RESTRICT row, std::int64_t channel_stride, std::int64_t channels, bool regions,
                        std::int64_t count, std::int32_t* HWY_RESTRICT out) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  alignas(64) float best[kPiece];
  for (std::int64_t begin = 0; begin < count; begin += kPiece, row += kPiece, out += kPiece) {
    const std::int64_t n = std::min(kPiece, count - begin);
    for (std::int64_t i = 0; i < n; ++i) {
      best[i] = -kLargest;
      out[i] = 0;
    }
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const T* HWY_RESTRICT values = row + channel * channel_stride;
      const auto number = static_cast<std::int32_t>(channel);
      for (std::int64_t i = 0; i < n; ++i) {
        const float value = to_float(values[i]);
        const float magnitude = value < 0.0f ? -value : value;
        const bool wins = regions ? value > kRegionThreshold : value > best[i];
        std::int32_t winner = wins ? number + (regions ? 1 : 0) : out[i];
        best[i] = wins ? value : best[i];
        // Once unknown, always unknown.
        winner = out[i] < 0 ? kUnknown : winner;
        out[i] = magnitude <= kLargest ? winner : kUnknown;
      }
    }
  }
}

// Convex and monotone, also when rounded: a channel that is not below another at all eight corners is not below it
// here.
HWY_INLINE float mix(float a, float b, float of_a, float of_b) { return of_a * a + of_b * b; }

template <typename T>
HWY_INLINE void mix_rows(const Stretch<T>& s, float* HWY_RESTRICT mixed) {
  const T* HWY_RESTRICT r00 = s.rows[0];
  const T* HWY_RESTRICT r01 = s.rows[1];
  const T* HWY_RESTRICT r10 = s.rows[2];
  const T* HWY_RESTRICT r11 = s.rows[3];
  const float x1 = s.x_weight, x0 = 1.0f - x1, y1 = s.y_weight, y0 = 1.0f - y1;
  const std::int64_t last = s.last;
  for (std::int64_t i = s.first; i < last; ++i)
    mixed[i] =
        mix(mix(to_float(r00[i]), to_float(r10[i]), x0, x1), mix(to_float(r01[i]), to_float(r11[i]), x0, x1), y0, y1);
}

// The values of [begin, begin + count) of the stretch, from its mixed rows.
template <typename T>
HWY_INLINE void mix_along(const Stretch<T>& s, const float* HWY_RESTRICT mixed, std::int64_t begin, std::int64_t count,
                          float* HWY_RESTRICT values) {
  const std::int32_t* HWY_RESTRICT lower = s.lower + begin;
  const std::int32_t* HWY_RESTRICT upper = s.upper + begin;
  const float* HWY_RESTRICT weight = s.z_weight + begin;
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = kept_precision<T>(mix(mixed[lower[i]], mixed[upper[i]], 1.0f - weight[i], weight[i]));
}

template <typename T>
HWY_INLINE void improve(const Stretch<T>& s, std::int32_t channel, float* mixed, float* HWY_RESTRICT best,
                        std::int32_t* HWY_RESTRICT winner) {
  alignas(64) float values[kPiece];
  mix_rows(s, mixed);
  for (std::int64_t begin = 0; begin < s.count; begin += kPiece, best += kPiece, winner += kPiece) {
    const std::int64_t n = std::min(kPiece, s.count - begin);
    mix_along(s, mixed, begin, n, values);
    for (std::int64_t i = 0; i < n; ++i) {
      const bool wins = !(values[i] <= best[i]) & (best[i] == best[i]);
      best[i] = wins ? values[i] : best[i];
      winner[i] = wins ? channel : winner[i];
    }
  }
}

template <typename T>
HWY_INLINE void switch_on(const Stretch<T>& s, std::int32_t channel, float* mixed, std::int32_t* HWY_RESTRICT winner) {
  alignas(64) float values[kPiece];
  mix_rows(s, mixed);
  for (std::int64_t begin = 0; begin < s.count; begin += kPiece, winner += kPiece) {
    const std::int64_t n = std::min(kPiece, s.count - begin);
    mix_along(s, mixed, begin, n, values);
    for (std::int64_t i = 0; i < n; ++i) winner[i] = values[i] > kRegionThreshold ? channel + 1 : winner[i];
  }
}

template <typename T>
HWY_INLINE void copy_values(const Stretch<T>& s, float* mixed, float* values) {
  mix_rows(s, mixed);
  mix_along(s, mixed, 0, s.count, values);
}

constexpr float kLog2E = 1.44269504f;

// What is chosen when the library is loaded cannot be a template.
#define FASTNNUNET_FOR_LOGITS(T, Suffix)                                                                              \
  void winners_##Suffix(const T* row, std::int64_t channel_stride, std::int64_t channels, bool regions,               \
                        std::int64_t count, std::int32_t* out) {                                                      \
    if (regions)                                                                                                      \
      winners(row, channel_stride, channels, true, count, out);                                                       \
    else                                                                                                              \
      winners(row, channel_stride, channels, false, count, out);                                                      \
  }                                                                                                                   \
  void copy_##Suffix(const Stretch<T>& stretch, float* mixed, float* values) { copy_values(stretch, mixed, values); } \
  void improve_##Suffix(const Stretch<T>& stretch, std::int32_t channel, float* mixed, float* best,                   \
                        std::int32_t* winner) {                                                                       \
    improve(stretch, channel, mixed, best, winner);                                                                   \
  }                                                                                                                   \
  void switch_##Suffix(const Stretch<T>& stretch, std::int32_t channel, float* mixed, std::int32_t* winner) {         \
    switch_on(stretch, channel, mixed, winner);                                                                       \
  }
FASTNNUNET_FOR_LOGITS(float, floats)
FASTNNUNET_FOR_LOGITS(std::uint16_t, halves)
#undef FASTNNUNET_FOR_LOGITS

void agree_on(const std::int32_t* HWY_RESTRICT a, const std::int32_t* HWY_RESTRICT b,
              const std::int32_t* HWY_RESTRICT c, const std::int32_t* HWY_RESTRICT d, std::int64_t count,
              std::int32_t* HWY_RESTRICT common) {
  for (std::int64_t i = 0; i < count; ++i)
    common[i] = ((a[i] ^ b[i]) | (a[i] ^ c[i]) | (a[i] ^ d[i])) == 0 ? a[i] : kUnknown;
}

void spread(const std::int32_t* HWY_RESTRICT common, const std::int32_t* HWY_RESTRICT lower,
            const std::int32_t* HWY_RESTRICT upper, std::int64_t count, std::int32_t* HWY_RESTRICT winner,
            std::uint8_t* HWY_RESTRICT undecided) {
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    std::int32_t differ = 0;
    for (std::int64_t i = begin; i < begin + n; ++i) {
      const std::int32_t from = common[lower[i]], to = common[upper[i]];
      winner[i] = from;
      // The sign bit of what is unknown, too.
      differ |= (from ^ to) | (from & std::int32_t{-0x7fffffff - 1});
    }
    undecided[begin / kBlock] = differ != 0;
  }
}

void exponentiate(const float* HWY_RESTRICT best, std::int64_t count, float* HWY_RESTRICT values,
                  float* HWY_RESTRICT sums) {
  each_vector<float>(count, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto below = hn::Sub(hn::LoadU(d, values + i), hn::LoadU(d, best + i));
    const auto value = math::exp2(d, hn::Mul(below, hn::Set(d, kLog2E)));
    hn::StoreU(value, d, values + i);
    hn::StoreU(hn::Add(hn::LoadU(d, sums + i), value), d, sums + i);
  });
}

void squash(std::int64_t count, float* HWY_RESTRICT values) {
  map_values(values, count, [](auto d, auto value) HWY_ATTR {
    const auto one = hn::Set(d, 1.0f);
    return hn::Div(one, hn::Add(one, math::exp2(d, hn::Mul(hn::Neg(value), hn::Set(d, kLog2E)))));
  });
}

}  // namespace
}  // namespace fastnnunet::inference::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::inference {
namespace {

FASTNNUNET_DISPATCH(agree_on);
FASTNNUNET_DISPATCH(spread);
FASTNNUNET_DISPATCH(exponentiate);
FASTNNUNET_DISPATCH(squash);

}  // namespace

#define FASTNNUNET_FOR_LOGITS(T, Suffix)                                                                      \
  namespace {                                                                                                 \
  FASTNNUNET_DISPATCH(winners_##Suffix);                                                                      \
  FASTNNUNET_DISPATCH(copy_##Suffix);                                                                         \
  FASTNNUNET_DISPATCH(improve_##Suffix);                                                                      \
  FASTNNUNET_DISPATCH(switch_##Suffix);                                                                       \
  }                                                                                                           \
  template <>                                                                                                 \
  void winners_of_row(const T* row, std::int64_t channel_stride, std::int64_t channels, bool regions,         \
                      std::int64_t count, std::int32_t* winners) {                                            \
    winners_##Suffix(row, channel_stride, channels, regions, count, winners);                                 \
  }                                                                                                           \
  template <>                                                                                                 \
  void interpolate(const Stretch<T>& stretch, float* mixed, float* values) {                                  \
    copy_##Suffix(stretch, mixed, values);                                                                    \
  }                                                                                                           \
  template <>                                                                                                 \
  void improve_winners(const Stretch<T>& stretch, std::int32_t channel, float* mixed, float* best,            \
                       std::int32_t* winners) {                                                               \
    improve_##Suffix(stretch, channel, mixed, best, winners);                                                 \
  }                                                                                                           \
  template <>                                                                                                 \
  void switch_regions(const Stretch<T>& stretch, std::int32_t channel, float* mixed, std::int32_t* winners) { \
    switch_##Suffix(stretch, channel, mixed, winners);                                                        \
  }
FASTNNUNET_FOR_LOGITS(float, floats)
FASTNNUNET_FOR_LOGITS(std::uint16_t, halves)
#undef FASTNNUNET_FOR_LOGITS

void common_winners(const std::int32_t* a, const std::int32_t* b, const std::int32_t* c, const std::int32_t* d,
                    std::int64_t count, std::int32_t* common) {
  agree_on(a, b, c, d, count, common);
}

void spread_winners(const std::int32_t* common, const std::int32_t* lower, const std::int32_t* upper,
                    std::int64_t count, std::int32_t* winners, std::uint8_t* undecided) {
  spread(common, lower, upper, count, winners, undecided);
}

void exponentials(const float* best, std::int64_t count, float* values, float* sums) {
  exponentiate(best, count, values, sums);
}

void sigmoids(std::int64_t count, float* values) { squash(count, values); }

}  // namespace fastnnunet::inference
#endif  // HWY_ONCE
