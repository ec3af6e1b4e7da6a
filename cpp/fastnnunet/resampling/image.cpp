#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/base/parallel.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/resampling/checks.h"
#include "fastnnunet/resampling/lines.h"
#include "fastnnunet/resampling/resize.h"

#define HWY_TARGET_INCLUDE "fastnnunet/resampling/image.cpp"
#include "fastnnunet/base/simd/targets.h"

#if !defined(FASTNNUNET_RESAMPLING_IMAGE_TYPES)
#define FASTNNUNET_RESAMPLING_IMAGE_TYPES
namespace fastnnunet::resampling {
namespace {

struct Range {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  bool nan = false;

  void join(const Range& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    nan |= other.nan;
  }
};

}  // namespace
}  // namespace fastnnunet::resampling
#endif

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::resampling::HWY_NAMESPACE {
namespace {

// Of the numbers among the values. In lanes, for compilers may not reorder a minimum of floats.
Range range_of(const float* HWY_RESTRICT values, std::int64_t count) {
  Range range;
  alignas(64) float low[kLanes], high[kLanes];
  alignas(64) std::int32_t nan[kLanes];
  for (std::int64_t l = 0; l < kLanes; ++l) {
    low[l] = range.low;
    high[l] = range.high;
    nan[l] = 0;
  }
  for (; count >= kLanes; count -= kLanes, values += kLanes)
    for (std::int64_t l = 0; l < kLanes; ++l) {
      low[l] = values[l] < low[l] ? values[l] : low[l];
      high[l] = values[l] > high[l] ? values[l] : high[l];
      nan[l] |= values[l] != values[l];
    }
  for (std::int64_t l = 0; l < count; ++l) {
    low[l] = values[l] < low[l] ? values[l] : low[l];
    high[l] = values[l] > high[l] ? values[l] : high[l];
    nan[l] |= values[l] != values[l];
  }
  for (std::int64_t l = 0; l < kLanes; ++l) range.join({low[l], high[l], nan[l] != 0});
  return range;
}

}  // namespace
}  // namespace fastnnunet::resampling::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::resampling {
namespace {

FASTNNUNET_DISPATCH(range_of);

std::size_t count_of(std::int64_t n) { return static_cast<std::size_t>(n); }

// What is taken off the values first, added again last, and the range that is kept. Splines reproduce a constant, and
// float32 holds small values better than small differences of large ones.
struct Level {
  float subtract = 0.0f;
  Finish finish;

  Level(const Range& range, int order) {
    const float middle = 0.5f * range.low + 0.5f * range.high;
    if (order != 0 && std::isfinite(middle)) subtract = middle;
    finish = {subtract, range.low, range.high};
    // Nothing but NaN.
    if (range.low > range.high)
      finish = {0.0f, -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};
  }
};

struct Scratch {
  platform::Buffer lines, wide, plane;
};

float* reserve_lines(Scratch& scratch, const LineAxis& axis) {
  return scratch.lines.reserve<float>(count_of((axis.from + 2 * kLineMargin) * kLanes));
}

// Along the slower axis of n rows: (from, width) to (to, width), lanes being neighbours in memory.
void resize_across(const float* data, const LineAxis& axis, std::int64_t width, std::int64_t begin, std::int64_t end,
                   float subtract, const Finish* finish, float* out, Scratch& scratch) {
  float* lines = reserve_lines(scratch, axis);
  for (std::int64_t at = begin; at < end; at += kLanes) {
    const std::int64_t lanes = std::min(kLanes, end - at);
    load_lines(data + at, width, axis.from, lanes, subtract, lines);
    prepare_lines(axis, lines);
    combine_lines(axis, lines, lanes, out + at, width, finish);
  }
}

// Along the contiguous axis: (rows, from) to (rows, to).
void resize_along(const float* data, const LineAxis& axis, std::int64_t rows, float subtract, const Finish* finish,
                  float* out, Scratch& scratch) {
  float* lines = reserve_lines(scratch, axis);
  float* wide = scratch.wide.reserve<float>(count_of(axis.to * kLanes));
  for (std::int64_t row = 0; row < rows; row += kLanes) {
    const std::int64_t lanes = std::min(kLanes, rows - row);
    load_lines_transposed(data + row * axis.from, axis.from, axis.from, lanes, subtract, lines);
    prepare_lines(axis, lines);
    combine_lines(axis, lines, kLanes, wide, kLanes, finish);
    store_lines_transposed(wide, axis.to, lanes, out + row * axis.to, axis.to);
  }
}

// Planes (Y, Z), one at a time. An axis that keeps its size is left alone: interpolation at the voxels gives the
// voxels.
class Planes {
 public:
  Planes(const Index3& from, const Index3& to, int order)
      : y_(line_axis(from[1], to[1], order)), z_(line_axis(from[2], to[2], order)) {}

  bool unchanged() const { return y_.from == y_.to && z_.from == z_.to; }
  std::int64_t size_before() const { return y_.from * z_.from; }
  std::int64_t size() const { return y_.to * z_.to; }

  void resize(const float* plane, float subtract, const Finish* finish, float* out, Scratch& scratch) const {
    if (z_.from == z_.to) return resize_across(plane, y_, z_.to, 0, z_.to, subtract, finish, out, scratch);
    if (y_.from == y_.to) return resize_along(plane, z_, y_.to, subtract, finish, out, scratch);
    // The axis that grows less goes first: the other has less to do.
    if (z_.to * y_.from <= y_.to * z_.from) {
      float* between = scratch.plane.reserve<float>(count_of(y_.from * z_.to));
      resize_along(plane, z_, y_.from, subtract, nullptr, between, scratch);
      resize_across(between, y_, z_.to, 0, z_.to, 0.0f, finish, out, scratch);
    } else {
      float* between = scratch.plane.reserve<float>(count_of(y_.to * z_.from));
      resize_across(plane, y_, z_.from, 0, z_.from, subtract, nullptr, between, scratch);
      resize_along(between, z_, y_.to, 0.0f, finish, out, scratch);
    }
  }

 private:
  LineAxis y_, z_;
};

void resize_planes(const float* image, std::int64_t count, const Planes& planes, float subtract, const Finish* finish,
                   int threads, float* out) {
  base::parallel_for(threads, count, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    for (std::int64_t x = begin; x < end; ++x)
      planes.resize(image + x * planes.size_before(), subtract, finish, out + x * planes.size(), scratch);
  });
}

// The X axis, for all voxels of a plane.
void resize_columns(const float* image, const LineAxis& axis, std::int64_t plane, float subtract, const Finish* finish,
                    int threads, float* out) {
  const std::int64_t bundles = (plane + kLanes - 1) / kLanes;
  base::parallel_for(threads, bundles, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    resize_across(image, axis, plane, begin * kLanes, std::min(end * kLanes, plane), subtract, finish, out, scratch);
  });
}

void resize_volume(const float* image, const Index3& from, const Index3& to, int order, int threads, float* out) {
  Range range;
  base::Mutex mutex;
  base::parallel_for(threads, from[0], [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t plane = from[1] * from[2];
    const Range part = range_of(image + begin * plane, (end - begin) * plane);
    const base::MutexLock lock(mutex);
    range.join(part);
  });
  if (order == 3 && range.nan) {
    std::fill(out, out + voxels(to), std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const Level level(range, order);
  const Planes planes(from, to, order);
  const LineAxis x = line_axis(from[0], to[0], order);
  if (x.from == x.to) return resize_planes(image, x.to, planes, level.subtract, &level.finish, threads, out);
  if (planes.unchanged()) return resize_columns(image, x, planes.size(), level.subtract, &level.finish, threads, out);
  // What is kept in between is the smaller of two.
  platform::Buffer buffer;
  if (x.from * planes.size() <= x.to * planes.size_before()) {
    float* between = buffer.reserve<float>(count_of(x.from * planes.size()));
    resize_planes(image, x.from, planes, level.subtract, nullptr, threads, between);
    resize_columns(between, x, planes.size(), 0.0f, &level.finish, threads, out);
  } else {
    float* between = buffer.reserve<float>(count_of(x.to * planes.size_before()));
    resize_columns(image, x, planes.size_before(), level.subtract, nullptr, threads, between);
    resize_planes(between, x.to, planes, 0.0f, &level.finish, threads, out);
  }
}

// One slice with a range of its own.
void resize_slice(const float* slice, const Planes& planes, int order, float* out, Scratch& scratch) {
  if (planes.unchanged()) {
    std::copy(slice, slice + planes.size(), out);
    return;
  }
  const Range range = range_of(slice, planes.size_before());
  if (order == 3 && range.nan) {
    std::fill(out, out + planes.size(), std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const Level level(range, order);
  planes.resize(slice, level.subtract, &level.finish, out, scratch);
}

// Slices are planes of X.
void resize_slices(const float* image, const Index3& from, const Index3& to, const ResizeOptions& options, float* out) {
  const Planes planes(from, to, options.order);
  if (options.order_z != 0 && from[0] != to[0]) {
    platform::Buffer buffer;
    float* between = buffer.reserve<float>(count_of(from[0] * planes.size()));
    base::parallel_for(options.threads, from[0], [&](std::int64_t begin, std::int64_t end) {
      Scratch scratch;
      for (std::int64_t x = begin; x < end; ++x)
        resize_slice(image + x * planes.size_before(), planes, options.order, between + x * planes.size(), scratch);
    });
    const LineAxis x = line_axis(from[0], to[0], options.order_z);
    return resize_columns(between, x, planes.size(), 0.0f, nullptr, options.threads, out);
  }
  const std::vector<std::int32_t> nearest = nearest_axis(from[0], to[0]).lower;
  base::parallel_for(options.threads, to[0], [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    for (std::int64_t x = begin; x < end; ++x) {
      const std::int64_t slice = nearest[count_of(x)];
      float* plane = out + x * planes.size();
      if (x > begin && nearest[count_of(x - 1)] == slice)
        std::copy(plane - planes.size(), plane, plane);
      else
        resize_slice(image + slice * planes.size_before(), planes, options.order, plane, scratch);
    }
  });
}

Index3 with_first(const Index3& shape, int axis) {
  return axis == 1 ? Index3{shape[1], shape[0], shape[2]} : Index3{shape[2], shape[0], shape[1]};
}

// Axis 1 or 2 of `shape` to the front, or from there back to its place.
void move_axis(const float* image, const Index3& shape, int axis, bool back, int threads, float* out) {
  const std::int64_t inner = axis == 1 ? shape[2] : 1;
  const std::int64_t step_x = shape[1] * shape[2], step = axis == 1 ? shape[2] : 1;
  const std::int64_t other = axis == 1 ? 1 : shape[1];
  const std::int64_t step_other = axis == 1 ? 0 : shape[2];
  base::parallel_for(threads, shape[0], [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t x = begin; x < end; ++x)
      for (std::int64_t y = 0; y < other; ++y)
        for (std::int64_t k = 0; k < shape[count_of(axis)]; ++k) {
          const std::int64_t usual = x * step_x + y * step_other + k * step;
          const std::int64_t moved = ((k * shape[0] + x) * other + y) * inner;
          std::memcpy(out + (back ? usual : moved), image + (back ? moved : usual), count_of(inner) * sizeof(float));
        }
  });
}

}  // namespace

void resize_image(const float* image, const Index3& from, const Index3& to, const ResizeOptions& options, float* out) {
  check_sizes("resample", from, to);
  check_axis("resample", options.separate);
  for (const int order : {options.order, options.order_z})
    if (order != 0 && order != 1 && order != 3)
      throw InvalidArgument("resample", "order and order_z to be 0, 1 or 3", std::to_string(order));
  if (from == to) {
    std::copy(image, image + voxels(from), out);
  } else if (options.separate < 0) {
    resize_volume(image, from, to, options.order, options.threads, out);
  } else if (options.separate == 0) {
    resize_slices(image, from, to, options, out);
  } else {
    const int axis = options.separate;
    platform::Buffer before, after;
    float* slices = before.reserve<float>(count_of(voxels(from)));
    float* resized = after.reserve<float>(count_of(voxels(to)));
    move_axis(image, from, axis, false, options.threads, slices);
    resize_slices(slices, with_first(from, axis), with_first(to, axis), options, resized);
    move_axis(resized, to, axis, true, options.threads, out);
  }
}

}  // namespace fastnnunet::resampling
#endif  // HWY_ONCE
