// Elementary functions on vectors: no branch, no table. To be included behind targets.h, and again for each target.
// Polynomials are summed in halves (Estrin's scheme): one after the other, their terms would wait for each other.
// Errors are relative to the exact value, measured over the stated range by cpp/tests/base/simd/vector_math.cpp.
#if defined(FASTNNUNET_BASE_SIMD_VECTOR_MATH_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FASTNNUNET_BASE_SIMD_VECTOR_MATH_H_
#undef FASTNNUNET_BASE_SIMD_VECTOR_MATH_H_
#else
#define FASTNNUNET_BASE_SIMD_VECTOR_MATH_H_
#endif

#include <bit>
#include <cstdint>

#include "fastnnunet/base/simd/targets.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::simd::HWY_NAMESPACE::math {

namespace hn = hwy::HWY_NAMESPACE;

// factor * x + summand, with two roundings.
template <typename D, typename V>
HWY_INLINE V linear(D d, V x, float factor, float summand) {
  return hn::Add(hn::Mul(hn::Set(d, factor), x), hn::Set(d, summand));
}

// log2 of a positive normal float; 3e-7 absolute near 1, else 2 ulp. Zero gives about -127, which exp2 takes to 0.
template <typename D, typename V>
HWY_INLINE V log2(D d, V x) {
  const hn::RebindToSigned<D> ints;
  const auto bits = hn::BitCast(ints, x);
  // The mantissa is taken from [sqrt(1/2), sqrt(2)), so that the series is symmetric around 1.
  const auto exponent = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(ints, 0x3f3504f3)));
  const V mantissa = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent)));
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(hn::Sub(mantissa, one), hn::Add(mantissa, one));  // |t| < 0.1716
  const V t2 = hn::Mul(t, t);
  const V t4 = hn::Mul(t2, t2);
  // 2/ln(2) * atanh(t)
  const V high = hn::Add(linear(d, t2, 0.4121986f, 0.5770780f), hn::Mul(t4, hn::Set(d, 0.3205989f)));
  const V series = hn::Add(linear(d, t2, 0.9617967f, 2.8853900f), hn::Mul(t4, high));
  return hn::Add(hn::ConvertTo(d, exponent), hn::Mul(t, series));
}

// 2^x for x in [-126, 126], clamped outside; 3e-7 relative.
template <typename D, typename V>
HWY_INLINE V exp2(D d, V x) {
  const hn::RebindToSigned<D> ints;
  constexpr std::int32_t kMost = std::bit_cast<std::int32_t>(126.0f), kShift = std::bit_cast<std::int32_t>(12582912.0f);
  // On its bits, for NaN is to be clamped, too.
  const auto bits = hn::BitCast(ints, x);
  const auto size = hn::Min(hn::And(bits, hn::Set(ints, 0x7fffffff)), hn::Set(ints, kMost));
  const auto sign = hn::And(bits, hn::Set(ints, static_cast<std::int32_t>(0x80000000u)));
  x = hn::BitCast(d, hn::Or(sign, size));
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
  const V shifted = hn::Add(x, hn::Set(d, 12582912.0f));
  const V whole = hn::Sub(shifted, hn::Set(d, 12582912.0f));
  const V fraction = hn::Sub(x, whole);  // [-0.5, 0.5]
  const V square = hn::Mul(fraction, fraction);
  const V low = linear(d, fraction, 6.9314718e-1f, 1.0f);
  const V middle = linear(d, fraction, 5.5504109e-2f, 2.4022651e-1f);
  const V high = hn::Add(linear(d, fraction, 1.3333558e-3f, 9.6181291e-3f), hn::Mul(square, hn::Set(d, 1.5403530e-4f)));
  const V value = hn::Add(hn::Add(low, hn::Mul(square, middle)), hn::Mul(hn::Mul(square, square), high));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::BitCast(ints, shifted), hn::Set(ints, 127 - kShift)));
  return hn::Mul(value, hn::BitCast(d, power));
}

// base^exponent for base in [0, 1]; 0^e = 0 for e > 0. In two steps, for two short loops are faster than one: their
// steps wait less for each other.
template <typename D, typename V>
HWY_INLINE V log2_of_power(D d, V base, V exponent) {
  const hn::RebindToSigned<D> ints;
  // Bits of positive floats are in the order of the floats.
  const auto positive = hn::Max(hn::BitCast(ints, base), hn::Set(ints, std::bit_cast<std::int32_t>(1e-38f)));
  return hn::Mul(exponent, log2(d, hn::BitCast(d, positive)));
}
template <typename D, typename V>
HWY_INLINE V power_of_log2(D d, V base, V logarithm) {
  return hn::IfThenElseZero(hn::Gt(base, hn::Zero(d)), exp2(d, logarithm));
}
template <typename D, typename V>
HWY_INLINE V power(D d, V base, V exponent) {
  return power_of_log2(d, base, log2_of_power(d, base, exponent));
}

// sin and cos of 2*pi*turns, turns in [0, 1); 1e-6 absolute.
template <typename D, typename V>
HWY_INLINE void sincos_turns(D d, V turns, V& sine, V& cosine) {
  const hn::RebindToSigned<D> ints;
  // Fold to an eighth of a turn around the nearest quarter.
  const V shifted = linear(d, turns, 4.0f, 12582912.0f);
  const auto quadrant = hn::BitCast(ints, shifted);
  const V folded = hn::Sub(turns, hn::Mul(hn::Sub(shifted, hn::Set(d, 12582912.0f)), hn::Set(d, 0.25f)));
  const V angle = hn::Mul(folded, hn::Set(d, 6.2831853f));  // [-pi/4, pi/4]
  const V a2 = hn::Mul(angle, angle);
  const V a4 = hn::Mul(a2, a2);
  const V s = hn::Mul(
      angle, hn::Add(linear(d, a2, -1.6666655e-1f, 1.0f), hn::Mul(a4, linear(d, a2, -1.9515296e-4f, 8.3321609e-3f))));
  const V high = hn::Add(hn::Mul(linear(d, a2, 2.4433157e-5f, -1.3887316e-3f), a2), hn::Set(d, 4.1666646e-2f));
  const V c = hn::Add(hn::Sub(hn::Set(d, 1.0f), hn::Mul(hn::Set(d, 0.5f), a2)), hn::Mul(a4, high));
  const auto one = hn::Set(ints, 1);
  const auto odd = hn::RebindMask(d, hn::TestBit(quadrant, one));
  // The second bit of the quadrant, and of the next one, is the sign.
  const auto sign = [&](auto of) HWY_ATTR { return hn::BitCast(d, hn::ShiftLeft<30>(hn::And(of, hn::Set(ints, 2)))); };
  sine = hn::Xor(hn::IfThenElse(odd, c, s), sign(quadrant));
  cosine = hn::Xor(hn::IfThenElse(odd, s, c), sign(hn::Add(quadrant, one)));
}

}  // namespace fastnnunet::simd::HWY_NAMESPACE::math
HWY_AFTER_NAMESPACE();

#endif
