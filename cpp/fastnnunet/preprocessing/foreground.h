// Intensities of the foreground, for nnU-Net's fingerprint of a data set.
#pragma once

#include <cstdint>
#include <functional>

#include "fastnnunet/base/box.h"

namespace fastnnunet::preprocessing {

// Where intensities of one channel are written.
struct Drawn {
  float* values = nullptr;
  std::int16_t* whole = nullptr;  // in place of `values` if all of them are whole numbers that int16 holds
};

// Draws `samples` intensities of voxels whose label is above 0, with replacement, for each channel: the same as
// nnU-Net's `collect_foreground_intensities` with that seed. image: (C, X, Y, Z); labels: (X, Y, Z), fewer than 2^32
// voxels, else throws InvalidArgument. `place(whole)` gives the place of the next channel, in int16 if `whole`. Returns
// the number of such voxels; where it is 0 nothing is drawn.
template <typename T>
std::int64_t draw_foreground(const float* image, std::int64_t channels, const T* labels, const Index3& shape,
                             std::uint32_t seed, std::int64_t samples, const std::function<Drawn(bool)>& place);

}  // namespace fastnnunet::preprocessing
