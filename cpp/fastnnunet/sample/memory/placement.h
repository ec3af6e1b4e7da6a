// Where the arrays of a sample lie: in the batch, where their form is that of the finished sample, or in one of the
// workspace's two buffers for each of them. One set of rules, for the sample that takes the memory (Sample) and for
// the budget that counts it beforehand (Pipeline::workspace_bytes).
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/target.h"

namespace fastnnunet::sample {

// Channels and shape, (C, X, Y, Z). Folded: planes along X are among the channels.
struct Form {
  std::int64_t channels = 0;
  Index3 shape{};
  bool folded = false;

  std::int64_t size() const { return channels * voxels(shape); }
};

// Fewer channels are the first of the wanted ones. A folded sample has the same voxels under another shape.
inline bool fits_image(const Form& wanted, const Form& image) {
  if (wanted.shape == image.shape) return image.channels <= wanted.channels;
  return image.folded && image.size() <= wanted.size();
}

inline bool fits_labels(TargetType type, const Form& wanted, const Form& labels) {
  if (type != TargetType::int16) return false;
  if (wanted.shape == labels.shape) return labels.channels == wanted.channels;
  return labels.folded && labels.size() == wanted.size();
}

inline bool fits_regions(TargetType type, const Form& wanted, const Form& regions) {
  return type == TargetType::boolean && wanted.channels == regions.channels && wanted.shape == regions.shape;
}

inline bool fits_target(TargetType type, const Form& wanted, TargetType made, const Form& target) {
  return type == made && wanted.size() == target.size();
}

// The workspace's two buffers, and behind them what the batch has: one image, or the targets.
using MemoryPlace = int;
inline constexpr MemoryPlace kNowhere = -1, kFirst = 0, kSecond = 1, kBatch = 2;

// For a new array beside the one at `present`. `fits(i)`: whether it can be the i-th of the batch's `wanted`.
template <typename Fits>
MemoryPlace place_beside(MemoryPlace present, std::size_t wanted, const Fits& fits) {
  for (std::size_t i = 0; i < wanted; ++i) {
    const MemoryPlace place = kBatch + static_cast<MemoryPlace>(i);
    if (place != present && fits(i)) return place;
  }
  return present == kFirst ? kSecond : kFirst;
}

}  // namespace fastnnunet::sample
