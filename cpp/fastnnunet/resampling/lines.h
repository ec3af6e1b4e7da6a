// A bundle of lines of one axis, side by side in memory, so that what is sequential along the axis (a spline's
// recursive filter) is done for all of them at once.
#pragma once

#include <cstdint>

#include "fastnnunet/resampling/axis.h"

namespace fastnnunet::resampling {

constexpr std::int64_t kLanes = 64;

// The last step of the last axis: back to the image's level, and not beyond its range. NaN stays.
struct Finish {
  float add = 0.0f;
  float low = 0.0f;
  float high = 0.0f;
};

// lines: (margin + n + margin, kLanes).

// Lanes are neighbours in memory: element i of lane l is at data[i * stride + l]. Missing lanes are zero.
void load_lines(const float* data, std::int64_t stride, std::int64_t n, std::int64_t lanes, float subtract,
                float* lines);

// Elements are neighbours in memory: element i of lane l is at data[l * stride + i].
void load_lines_transposed(const float* data, std::int64_t stride, std::int64_t n, std::int64_t lanes, float subtract,
                           float* lines);
void store_lines_transposed(const float* lines, std::int64_t n, std::int64_t lanes, float* data, std::int64_t stride);

// Fills the margin for 1 and 2 taps; for 4 it turns values into a sixth of their cubic B-spline coefficients, the line
// being thought of as going on with its end values for ever.
void prepare_lines(const LineAxis& axis, float* lines);

// Element i of lane l of the resized lines to out[i * stride + l]; `finish` may be null.
void combine_lines(const LineAxis& axis, const float* lines, std::int64_t lanes, float* out, std::int64_t stride,
                   const Finish* finish);

}  // namespace fastnnunet::resampling
