// Where the voxels of a sample come from, as long as no transform has made others of them.
#pragma once

#include <chrono>
#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet::sample {

// Voxels of `box` of a window, rows along Z without gaps. What lies outside of the box lies outside of the window, or
// is not asked for.
template <typename T>
struct SourceView {
  const T* data = nullptr;  // the box's lower corner
  Box box;
  std::int64_t plane_step = 0;  // in voxels, along X
  std::int64_t row_step = 0;    // along Y

  static SourceView dense(const T* data, const Box& box) {
    const Index3 size = box.shape();
    return {data, box, size[1] * size[2], size[2]};
  }
};

// A window of a file, or an array. Boxes are in voxels of the window and lie inside it.
template <typename T>
class Source {
 public:
  virtual ~Source() = default;
  virtual std::int64_t channels() const = 0;
  virtual const Index3& shape() const = 0;                              // of the window
  virtual void read(std::int64_t channel, const Box& box, T* out) = 0;  // out: the box's shape, C-contiguous
  // The voxels where they lie in memory already; no data where they have to be read. They stay for as long as the
  // sample is worked on.
  virtual SourceView<T> view(std::int64_t /*channel*/, const Box& /*box*/) { return {}; }
  // The part of the window that lies in the image; every other voxel is filling().
  virtual Box content() const { return Box::of_shape(shape()); }
  virtual T filling() const { return T{0}; }
  // Spent on reading files for the present sample; an array has none.
  virtual std::chrono::nanoseconds reading_time() const { return {}; }
};

}  // namespace fastnnunet::sample
