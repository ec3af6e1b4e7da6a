// Where the voxels of a resized axis lie on the axis that they are made from, as scikit-image's resize has it: sizes
// stand for the extent of the voxels, so that both ends of the axis stay where they are, and what is asked for beyond
// the centre of the last voxel is that voxel.
#pragma once

#include <cstdint>
#include <vector>

#include "fastnnunet/base/box.h"

namespace fastnnunet::resampling {

// Every voxel lies between two: lower * (1 - fraction) + upper * fraction.
struct LinearAxis {
  std::vector<std::int32_t> lower;
  std::vector<std::int32_t> upper;
  std::vector<double> fraction;
};

// At the far end, where the fraction is 0, the upper voxel is the one before: NaN there counts, as it does in SciPy.
LinearAxis linear_axis(std::int64_t from, std::int64_t to);

// The nearest voxel, upper = lower; halves go up.
LinearAxis nearest_axis(std::int64_t from, std::int64_t to);

// The voxels of three axes where an image is resized linearly, or, where `separate` is an axis, nearest along that axis
// after the two others.
struct LinearAxes {
  LinearAxis axes[3];
  LinearAxes(const Index3& from, const Index3& to, int separate);
};

// One axis for lines of values with a margin of two on both sides, see lines.h: the voxel is the sum of weight[k] *
// line[start + k], k < taps. 1, 2 and 4 taps are nearest, linear and cubic.
struct LineAxis {
  int taps = 1;
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::vector<std::int32_t> start;  // counted from the margin's beginning
  std::vector<float> weights;       // (to, taps)
};

constexpr std::int64_t kLineMargin = 2;

// order: 0, 1 or 3. The weights of order 3 are for the coefficients that spline_coefficients() makes.
LineAxis line_axis(std::int64_t from, std::int64_t to, int order);

}  // namespace fastnnunet::resampling
