// Loops for every processor from one source: Google Highway compiles a file once for each target, that is, for each
// set of instructions, and the best that the processor has is chosen when the library is loaded. All of them give the
// same bits: nothing is contracted to a fused multiply-add (-ffp-contract=off, and no hn::MulAdd), and every sum has a
// fixed order. The environment variable FASTNNUNET_SIMD forces a target, for tests: SSE4, AVX2, AVX3 (which is
// AVX-512), NEON, or BASELINE, which every processor of its kind has.
//
// A file with such loops, room/file.cpp:
//
//   #define HWY_TARGET_INCLUDE "fastnnunet/room/file.cpp"
//   #include "fastnnunet/base/simd/targets.h"
//
//   HWY_BEFORE_NAMESPACE();
//   namespace fastnnunet::room::HWY_NAMESPACE {
//   namespace {
//
//   namespace hn = hwy::HWY_NAMESPACE;
//   using simd::HWY_NAMESPACE::each_vector;  // of vectors.h
//
//   void add(float* HWY_RESTRICT values, std::int64_t count, float summand) { ... }  // compiled for each target
//   }  // namespace
//   }  // namespace fastnnunet::room::HWY_NAMESPACE
//   HWY_AFTER_NAMESPACE();
//
//   #if HWY_ONCE
//   namespace fastnnunet::room {
//   namespace {
//   FASTNNUNET_DISPATCH(add);  // from here on, `add` is the function for this processor
//   }  // namespace
//   ...                        // everything else
//   }  // namespace fastnnunet::room
//   #endif
//
// The compiler turns plain loops into vector code for each target. MSVC does so for SSE2 only; loops that use
// Highway's vectors (namespace hn) are as fast with every compiler.
#ifndef FASTNNUNET_BASE_SIMD_TARGETS_H_
#define FASTNNUNET_BASE_SIMD_TARGETS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Every target costs compile time. SSSE3 is between SSE2 and SSE4, and the subsets of AVX-512 beyond AVX3 and SVE have
// nothing that the loops here need. Versions of Highway know different ones.
#define HWY_DISABLED_TARGETS                                                                                 \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_AVX3_SPR | HWY_AVX10_2 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | \
   HWY_SVE2_128 | HWY_NEON_BF16)
#include "hwy/detect_targets.h"
#ifndef HWY_AVX3_ZEN4
#define HWY_AVX3_ZEN4 0
#endif
#ifndef HWY_AVX3_SPR
#define HWY_AVX3_SPR 0
#endif
#ifndef HWY_AVX10_2
#define HWY_AVX10_2 0
#endif
#ifndef HWY_NEON_BF16
#define HWY_NEON_BF16 0
#endif

namespace fastnnunet::simd {

// The name of the target whose loops run, as Highway has it: "AVX2".
std::string_view target();

// The names that FASTNNUNET_SIMD may have here: BASELINE, and the targets that this processor has.
std::vector<std::string> targets();

// Throws InvalidArgument where FASTNNUNET_SIMD is none of these. What would be chosen without it runs then.
void check_setting();

// Of a table that HWY_EXPORT made.
std::size_t place_in_table();

template <typename Function, std::size_t kSize>
Function* chosen(Function* const (&table)[kSize]) {
  if constexpr (kSize == 1)
    return table[0];
  else
    return table[place_in_table()];
}

}  // namespace fastnnunet::simd

// Chosen when the library is loaded: the call is one through a pointer.
#define FASTNNUNET_DISPATCH(name) \
  HWY_EXPORT(name);               \
  const auto name = ::fastnnunet::simd::chosen(HWY_DISPATCH_TABLE(name))

#endif  // FASTNNUNET_BASE_SIMD_TARGETS_H_

// From here on, once for each target.
#if defined(HWY_TARGET_INCLUDE)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#endif
