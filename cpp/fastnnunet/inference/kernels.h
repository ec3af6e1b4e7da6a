// Loops over one row of voxels or logits. T of the logits: float, or std::uint16_t for the bits of a float16.
#pragma once

#include <cstdint>

namespace fastnnunet::inference {

// Where a channel's sigmoid exceeds a half in float32: torch's does not for logits closer to 0.
constexpr float kRegionThreshold = 0x1.8p-24f;

constexpr std::int32_t kUnknown = -1;

// The winner of each voxel of a row: the first channel with the highest logit, or of regions the last that is on plus
// one, 0 for none. kUnknown where a logit is not finite: interpolation between such may give anything.
template <typename T>
void winners_of_row(const T* row, std::int64_t channel_stride, std::int64_t channels, bool regions, std::int64_t count,
                    std::int32_t* winners);

// common[i] = the winner that four rows agree on, or kUnknown.
void common_winners(const std::int32_t* a, const std::int32_t* b, const std::int32_t* c, const std::int32_t* d,
                    std::int64_t count, std::int32_t* common);

constexpr std::int64_t kBlock = 32;

// winners[i] = common[lower[i]] for the voxels of a resized row; undecided[block] tells where, in a block of kBlock
// voxels, that is not also common[upper[i]], or is unknown.
void spread_winners(const std::int32_t* common, const std::int32_t* lower, const std::int32_t* upper,
                    std::int64_t count, std::int32_t* winners, std::uint8_t* undecided);

// A stretch of one resized row, and the four rows of logits around it.
template <typename T>
struct Stretch {
  const T* rows[4];  // (x, y), (x, y + 1), (x + 1, y), (x + 1, y + 1)
  float x_weight;    // of x + 1
  float y_weight;
  std::int64_t first;         // the voxels of the rows that are needed
  std::int64_t last;          // one beyond
  const std::int32_t* lower;  // for each voxel of the stretch
  const std::int32_t* upper;
  const float* z_weight;
  std::int64_t count;
};

// Logits of one channel at the voxels of the stretch, rounded to the logits' own precision as nnU-Net keeps them.
// mixed: as long as the rows.
template <typename T>
void interpolate(const Stretch<T>& stretch, float* mixed, float* values);

// The same, and at once: winners[i] = channel where its value is above best[i], which it becomes. NaN is above all.
template <typename T>
void improve_winners(const Stretch<T>& stretch, std::int32_t channel, float* mixed, float* best, std::int32_t* winners);

// winners[i] = channel + 1 where the region is on.
template <typename T>
void switch_regions(const Stretch<T>& stretch, std::int32_t channel, float* mixed, std::int32_t* winners);

// values[i] = exp(values[i] - best[i]), added to sums[i].
void exponentials(const float* best, std::int64_t count, float* values, float* sums);

// values[i] = 1 / (1 + exp(-values[i]))
void sigmoids(std::int64_t count, float* values);

}  // namespace fastnnunet::inference
