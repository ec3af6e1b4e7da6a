// From the probabilities of several models to labels, a channel at a time: what nnU-Net does with the mean of all
// channels.
#pragma once

#include <cstdint>

namespace fastnnunet::evaluation {

// `sums`: of one channel over `models` files, in float32. A voxel of which the mean is larger than `best` gets `label`,
// and the mean as its `best`; as NumPy's argmax over all channels, the first NaN is the largest.
void keep_best(const float* sums, std::int64_t voxels, int models, std::uint16_t label, float* best,
               std::uint16_t* labels);

// A voxel of which the mean is above one half gets `label`.
void keep_above_half(const float* sums, std::int64_t voxels, int models, std::uint16_t label, std::uint16_t* labels);

}  // namespace fastnnunet::evaluation
