// Voxels that stand for those outside of an axis.
#pragma once

#include <cstdint>

namespace fastnnunet::base {

// ... b a | a b c ... c | c b ...: the edge is repeated ("symmetric" in NumPy, "reflect" in SciPy). However far
// outside.
inline std::int64_t mirrored_with_edge(std::int64_t at, std::int64_t size) {
  const std::int64_t period = 2 * size;
  at %= period;
  if (at < 0) at += period;
  return at < size ? at : period - 1 - at;
}

// ... c b | a b c ... c | b a ...: the edge is not repeated ("reflect" in NumPy and torch, "mirror" in SciPy). At most
// size - 1 voxels outside.
inline std::int64_t mirrored_without_edge(std::int64_t at, std::int64_t size) {
  if (at < 0) return -at;
  return at < size ? at : 2 * (size - 1) - at;
}

}  // namespace fastnnunet::base
