// Weighted sums of rows in vectors of the target. To be included behind targets.h, and again for each target.
#if defined(FASTNNUNET_BASE_SIMD_VECTOR_SUMS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FASTNNUNET_BASE_SIMD_VECTOR_SUMS_H_
#undef FASTNNUNET_BASE_SIMD_VECTOR_SUMS_H_
#else
#define FASTNNUNET_BASE_SIMD_VECTOR_SUMS_H_
#endif

#include <cstdint>
#include <type_traits>

#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vectors.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::simd::HWY_NAMESPACE {

// Sums of so many vectors at once: they stay in registers, and their additions do not wait for each other.
using Several = std::integral_constant<int, 4>;
using Single = std::integral_constant<int, 1>;

// Calls step(d, vectors, i) for the floats [i, i + vectors * lanes): `Several` vectors as long as there are so many,
// and then a `Single` one at a time.
template <typename Step>
HWY_INLINE void each_bundle(std::int64_t count, Step&& step) {
  const hn::ScalableTag<float> d;
  const std::int64_t bundle = Several::value * static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t begin = 0;
  for (; begin + bundle <= count; begin += bundle) step(d, Several(), begin);
  each_vector<float>(count - begin, [&](auto some, std::int64_t i) HWY_ATTR { step(some, Single(), begin + i); });
}

// sums[v] = sum over rows of weights[row] * vector v of row_at(row), always in the order of the rows.
template <int kVectors, typename D, typename RowAt>
HWY_INLINE void weighted_sum(D d, const RowAt& row_at, const float* HWY_RESTRICT weights, std::int64_t count,
                             hn::Vec<D> (&sums)[kVectors]) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (int v = 0; v < kVectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t row = 0; row < count; ++row) {
    const auto weight = hn::Set(d, weights[row]);
    const float* HWY_RESTRICT values = row_at(row);
    for (int v = 0; v < kVectors; ++v) sums[v] = hn::Add(sums[v], hn::Mul(weight, hn::LoadU(d, values + v * lanes)));
  }
}

template <int kVectors, typename D>
HWY_INLINE void store_vectors(D d, const hn::Vec<D> (&vectors)[kVectors], float* HWY_RESTRICT out) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (int v = 0; v < kVectors; ++v) hn::StoreU(vectors[v], d, out + v * lanes);
}

}  // namespace fastnnunet::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
