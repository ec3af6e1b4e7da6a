// Linear mixing of vectors of the target, as mix() of numbers. To be included behind targets.h, and again for each
// target.
#if defined(FASTNNUNET_BASE_SIMD_VECTOR_MIX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FASTNNUNET_BASE_SIMD_VECTOR_MIX_H_
#undef FASTNNUNET_BASE_SIMD_VECTOR_MIX_H_
#else
#define FASTNNUNET_BASE_SIMD_VECTOR_MIX_H_
#endif

#include "fastnnunet/base/simd/rows.h"
#include "fastnnunet/base/simd/targets.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::simd::HWY_NAMESPACE {

using simd::mix;

template <typename V>
HWY_INLINE V mix(V a, V b, V share) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::Add(a, hn::Mul(share, hn::Sub(b, a)));
}

}  // namespace fastnnunet::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
