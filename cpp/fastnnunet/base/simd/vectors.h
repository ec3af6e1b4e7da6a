// Vectors of 16 bytes, for the few loops that compilers make poor code of: those that gather, and those that mix
// widths. They are whole on every processor, where wider ones may be made of two halves that are slow to shuffle.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "fastnnunet/base/simd/clones.h"

// Offsets into volumes and the bits of floats are taken apart as a little-endian processor has them.
static_assert(std::endian::native == std::endian::little, "expected a little-endian processor");

// FASTNNUNET_NO_VECTORS: the plain loops that compilers without such vectors get, for the tests.
#if defined(__has_builtin) && !defined(FASTNNUNET_NO_VECTORS)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define FASTNNUNET_VECTORS
#endif
#endif

#if defined(FASTNNUNET_VECTORS)

namespace fastnnunet {

typedef float Floats __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(16)));
typedef std::uint32_t Words __attribute__((vector_size(16)));
typedef std::int64_t Longs __attribute__((vector_size(16)));

template <typename Vector, typename T>
FASTNNUNET_INLINE Vector vector_at(const T* at) {
  Vector vector;
  std::memcpy(&vector, at, sizeof(vector));
  return vector;
}

template <typename Vector, typename T>
FASTNNUNET_INLINE void store(const Vector& vector, T* at) {
  std::memcpy(at, &vector, sizeof(vector));
}

}  // namespace fastnnunet
#endif

namespace fastnnunet {

// Has the memory `elements` beyond `at` fetched. That there is any need not be certain.
template <typename T>
FASTNNUNET_INLINE void fetch_ahead(const T* at, std::int64_t elements) {
#if defined(__GNUC__)
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(at) +
                                                   static_cast<std::uintptr_t>(elements) * sizeof(T)));
#else
  (void)at, (void)elements;
#endif
}

}  // namespace fastnnunet
