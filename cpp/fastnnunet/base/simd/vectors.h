// Loops over arrays in vectors of the target. To be included behind targets.h, and again for each target.
#if defined(FASTNNUNET_BASE_SIMD_VECTORS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FASTNNUNET_BASE_SIMD_VECTORS_H_
#undef FASTNNUNET_BASE_SIMD_VECTORS_H_
#else
#define FASTNNUNET_BASE_SIMD_VECTORS_H_
#endif

#include <cstdint>

#include "fastnnunet/base/simd/targets.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Calls step(d, i) for the vectors of `count` values of type T: for whole ones, for what is left in vectors of four,
// and for the last three one by one.
template <typename T, typename Step>
HWY_INLINE void each_vector(std::int64_t count, Step&& step) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 4> four;
  const hn::CappedTag<T, 1> one;
  const auto whole = static_cast<std::int64_t>(hn::Lanes(d)), some = static_cast<std::int64_t>(hn::Lanes(four));
  std::int64_t i = 0;
  for (; i + whole <= count; i += whole) step(d, i);
  for (; i + some <= count; i += some) step(four, i);
  for (; i < count; ++i) step(one, i);
}

// values[i] = map(d, values[i])
template <typename T, typename Map>
HWY_INLINE void map_values(T* HWY_RESTRICT values, std::int64_t count, Map&& map) {
  each_vector<T>(count,
                 [&](auto d, std::int64_t i) HWY_ATTR { hn::StoreU(map(d, hn::LoadU(d, values + i)), d, values + i); });
}

// value < low ? low : value, and the same from above: NaN stays, as it does not with every processor's minimum.
template <typename V>
HWY_INLINE V clamp(V value, V low, V high) {
  value = hn::IfThenElse(hn::Lt(value, low), low, value);
  return hn::IfThenElse(hn::Gt(value, high), high, value);
}

}  // namespace fastnnunet::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
