// nnU-Net's normalisation schemes, in place, on one channel of float32. Means are sums as NumPy makes them of
// contiguous voxels (pairwise summation in float32). Of a view, such as a crop, NumPy adds row after row, and last bits
// differ.
#pragma once

#include <cstdint>

namespace fastnnunet::preprocessing {

// ZScoreNormalization: (v - mean) / max(std, 1e-8). With a mask, of zeros and ones, mean and deviation are those of the
// voxels with 1, and the others stay as they are. An image without such voxels stays as it is.
void normalize_z_score(float* image, std::int64_t count, const std::uint8_t* mask, int threads);

// CTNormalization: (clip(v, lower, upper) - mean) / deviation. NaN stays NaN.
void normalize_ct(float* image, std::int64_t count, float lower, float upper, float mean, float deviation, int threads);

// RescaleTo01Normalization: v - min, then divided by the new maximum, which is at least 1e-8.
void normalize_rescale(float* image, std::int64_t count, int threads);

// RGBTo01Normalization: v / 255. Returns false, and changes nothing, where a value is not from 0 to 255.
bool normalize_rgb(float* image, std::int64_t count, int threads);

}  // namespace fastnnunet::preprocessing
