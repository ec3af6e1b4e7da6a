#include "fastnnunet/resampling/axis.h"

#include <algorithm>
#include <cmath>

namespace fastnnunet::resampling {
namespace {

// In float64 and in this order, as in SciPy: where two labels tie depends on it.
double position(std::int64_t i, std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  return (static_cast<double>(i) + 0.5) * scale - 0.5;
}

double clamped(double at, std::int64_t from) { return std::clamp(at, 0.0, static_cast<double>(from - 1)); }

std::int64_t nearest(std::int64_t i, std::int64_t from, std::int64_t to) {
  return static_cast<std::int64_t>(std::floor(clamped(position(i, from, to), from) + 0.5));
}

}  // namespace

LinearAxis linear_axis(std::int64_t from, std::int64_t to) {
  LinearAxis axis;
  for (std::int64_t i = 0; i < to; ++i) {
    const double at = clamped(position(i, from, to), from);
    const auto lower = static_cast<std::int64_t>(std::floor(at));
    const std::int64_t upper = lower + 1 < from ? lower + 1 : std::max<std::int64_t>(from - 2, 0);
    axis.lower.push_back(static_cast<std::int32_t>(lower));
    axis.upper.push_back(static_cast<std::int32_t>(upper));
    axis.fraction.push_back(at - static_cast<double>(lower));
  }
  return axis;
}

LinearAxis nearest_axis(std::int64_t from, std::int64_t to) {
  LinearAxis axis;
  for (std::int64_t i = 0; i < to; ++i) axis.lower.push_back(static_cast<std::int32_t>(nearest(i, from, to)));
  axis.upper = axis.lower;
  axis.fraction.assign(static_cast<std::size_t>(to), 0.0);
  return axis;
}

LinearAxes::LinearAxes(const Index3& from, const Index3& to, int separate) {
  // Sizes that are all the same are not resized at all: values that are not finite then stay where they are.
  bool same = true;
  for (int axis = 0; axis < 3; ++axis) same &= axis == separate || from[axis] == to[axis];
  for (int axis = 0; axis < 3; ++axis)
    axes[axis] = same || axis == separate ? nearest_axis(from[axis], to[axis]) : linear_axis(from[axis], to[axis]);
}

LineAxis line_axis(std::int64_t from, std::int64_t to, int order) {
  LineAxis axis{order + 1, from, to, {}, {}};
  for (std::int64_t i = 0; i < to; ++i) {
    const double at = position(i, from, to);
    if (order == 0) {
      axis.start.push_back(static_cast<std::int32_t>(nearest(i, from, to) + kLineMargin));
      axis.weights.push_back(1.0f);
    } else if (order == 1) {
      const double lower = std::floor(clamped(at, from));
      const double t = clamped(at, from) - lower;
      axis.start.push_back(static_cast<std::int32_t>(static_cast<std::int64_t>(lower) + kLineMargin));
      axis.weights.insert(axis.weights.end(), {static_cast<float>(1.0 - t), static_cast<float>(t)});
    } else {
      // Not clamped: a spline goes on for half a voxel beyond the last centre. Six times the cubic B-spline, for the
      // coefficients lack their gain.
      const double lower = std::floor(at);
      const double t = at - lower, u = 1.0 - t;
      axis.start.push_back(static_cast<std::int32_t>(static_cast<std::int64_t>(lower) - 1 + kLineMargin));
      axis.weights.insert(axis.weights.end(),
                          {static_cast<float>(u * u * u), static_cast<float>(4.0 - 3.0 * t * t * (2.0 - t)),
                           static_cast<float>(4.0 - 3.0 * u * u * (2.0 - u)), static_cast<float>(t * t * t)});
    }
  }
  return axis;
}

}  // namespace fastnnunet::resampling
