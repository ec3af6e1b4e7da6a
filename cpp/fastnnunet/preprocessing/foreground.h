// Intensities of the foreground, for nnU-Net's fingerprint of a data set.
#pragma once

#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet::preprocessing {

// Draws `samples` intensities of voxels whose label is above 0, with replacement, for each channel: the same as
// nnU-Net's `collect_foreground_intensities` with that seed. image: (C, X, Y, Z); labels: (X, Y, Z), fewer than 2^32
// voxels, else throws InvalidArgument; out: (C, samples), `stride` values from channel to channel. Returns the number
// of such voxels; where it is 0 nothing is written.
template <typename T>
std::int64_t draw_foreground(const float* image, std::int64_t channels, const T* labels, const Index3& shape,
                             std::uint32_t seed, std::int64_t samples, std::int64_t stride, float* out);

}  // namespace fastnnunet::preprocessing
