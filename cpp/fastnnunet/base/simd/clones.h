// One build serves every processor: a function marked FASTNNUNET_CLONES is compiled once for each instruction set, and
// the right one is chosen when the library is loaded. Contraction is off, so that all of them give the same bits, which
// is checked for each (cpp/tests/levels). With other compilers than GCC, and for other processors, there is one.
#pragma once

#if !defined(FASTNNUNET_NO_CLONES) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    defined(__linux__)
#define FASTNNUNET_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FASTNNUNET_CLONES
#endif

#if defined(_MSC_VER)
#define FASTNNUNET_RESTRICT __restrict
#define FASTNNUNET_INLINE __forceinline
#else
#define FASTNNUNET_RESTRICT __restrict__
#define FASTNNUNET_INLINE inline __attribute__((always_inline))
#endif
