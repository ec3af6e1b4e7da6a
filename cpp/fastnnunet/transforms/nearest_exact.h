// torch's 'nearest-exact': output voxel i takes input voxel floor((i + 0.5) * from / to), in float32 as there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace fastnnunet::transforms {

inline std::int64_t nearest_exact(std::int64_t i, std::int64_t from, std::int64_t to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  return std::min(static_cast<std::int64_t>(std::floor((static_cast<float>(i) + 0.5f) * scale)), from - 1);
}

inline void nearest_exact_positions(std::int64_t from, std::int64_t to, std::vector<std::int64_t>& positions) {
  positions.resize(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) positions[static_cast<std::size_t>(i)] = nearest_exact(i, from, to);
}

}  // namespace fastnnunet::transforms
