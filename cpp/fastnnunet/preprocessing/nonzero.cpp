#include "fastnnunet/preprocessing/nonzero.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/base/parallel.h"

namespace fastnnunet::preprocessing {

namespace {

constexpr std::uint8_t kOutside = 2;

bool is_empty(const Box& box) { return box.upper[0] <= box.lower[0]; }

void join(Box& box, const Box& other) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    box.lower[axis] = std::min(box.lower[axis], other.lower[axis]);
    box.upper[axis] = std::max(box.upper[axis], other.upper[axis]);
  }
}

Box nothing(const Index3& shape) { return {shape, {0, 0, 0}}; }

// Of planes [begin, end) of one channel. A row is read from both ends, only until its first voxel that is not zero.
Box box_of_planes(const float* image, const Index3& shape, std::int64_t begin, std::int64_t end) {
  Box box = nothing(shape);
  for (std::int64_t x = begin; x < end; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      const float* row = image + (x * shape[1] + y) * shape[2];
      const float* first = std::find_if(row, row + shape[2], [](float value) { return value != 0.0f; });
      if (first == row + shape[2]) continue;
      std::int64_t last = shape[2];
      while (last > box.upper[2] && row[last - 1] == 0.0f) --last;
      join(box, {{x, y, first - row}, {x + 1, y + 1, last}});
    }
  return box;
}

// Marks as outside what can be reached from a voxel through zeros, run by run along Z (scanline fill).
class Flood {
 public:
  Flood(std::uint8_t* mask, const Index3& shape) : mask_(mask), shape_(shape) {}

  void from(std::int64_t x, std::int64_t y, std::int64_t z) {
    if (row(x, y)[z] != 0) return;
    seeds_.push_back({x, y, z});
    while (!seeds_.empty()) {
      const Index3 seed = seeds_.back();
      seeds_.pop_back();
      spread(seed);
    }
  }

 private:
  std::uint8_t* row(std::int64_t x, std::int64_t y) const { return mask_ + (x * shape_[1] + y) * shape_[2]; }

  void spread(const Index3& seed) {
    std::uint8_t* here = row(seed[0], seed[1]);
    if (here[seed[2]] != 0) return;
    std::int64_t begin = seed[2], end = seed[2] + 1;
    while (begin > 0 && here[begin - 1] == 0) --begin;
    while (end < shape_[2] && here[end] == 0) ++end;
    std::fill(here + begin, here + end, kOutside);
    if (seed[0] > 0) add_runs(seed[0] - 1, seed[1], begin, end);
    if (seed[0] + 1 < shape_[0]) add_runs(seed[0] + 1, seed[1], begin, end);
    if (seed[1] > 0) add_runs(seed[0], seed[1] - 1, begin, end);
    if (seed[1] + 1 < shape_[1]) add_runs(seed[0], seed[1] + 1, begin, end);
  }

  void add_runs(std::int64_t x, std::int64_t y, std::int64_t begin, std::int64_t end) {
    const std::uint8_t* beside = row(x, y);
    for (std::int64_t z = begin; z < end; ++z)
      if (beside[z] == 0 && (z == begin || beside[z - 1] != 0)) seeds_.push_back({x, y, z});
  }

  std::uint8_t* mask_;
  const Index3& shape_;
  std::vector<Index3> seeds_;
};

}  // namespace

Box nonzero_box(const float* image, std::int64_t channels, const Index3& shape, int threads) {
  Box box = nothing(shape);
  base::Mutex mutex;
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* channel = image + c * voxels(shape);
    base::parallel_for(threads, shape[0], [&](std::int64_t begin, std::int64_t end) {
      const Box part = box_of_planes(channel, shape, begin, end);
      const base::MutexLock lock(mutex);
      join(box, part);
    });
  }
  return is_empty(box) ? Box{{0, 0, 0}, shape} : box;
}

bool nonzero_mask(const float* image, std::int64_t channels, const Index3& shape, int threads, std::uint8_t* mask) {
  const std::int64_t plane = shape[1] * shape[2], count = voxels(shape);
  std::atomic<bool> full{true};
  base::parallel_for(threads, shape[0], [&](std::int64_t begin, std::int64_t end) {
    std::uint8_t all = 1;
    for (std::int64_t x = begin; x < end; ++x) {
      std::uint8_t* to = mask + x * plane;
      const float* from = image + x * plane;
      for (std::int64_t i = 0; i < plane; ++i) to[i] = from[i] != 0.0f;
      for (std::int64_t c = 1; c < channels; ++c)
        for (std::int64_t i = 0; i < plane; ++i) to[i] |= static_cast<std::uint8_t>(from[c * count + i] != 0.0f);
      for (std::int64_t i = 0; i < plane; ++i) all &= to[i];
    }
    if (all == 0) full = false;
  });
  if (full) return true;
  fill_holes(mask, shape);
  return std::all_of(mask, mask + count, [](std::uint8_t value) { return value != 0; });
}

void fill_holes(std::uint8_t* mask, const Index3& shape) {
  Flood flood(mask, shape);
  for (std::int64_t x = 0; x < shape[0]; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      const bool border = x == 0 || x + 1 == shape[0] || y == 0 || y + 1 == shape[1];
      if (border)
        for (std::int64_t z = 0; z < shape[2]; ++z) flood.from(x, y, z);
      flood.from(x, y, 0);
      flood.from(x, y, shape[2] - 1);
    }
  std::uint8_t* end = mask + voxels(shape);
  for (std::uint8_t* value = mask; value != end; ++value) *value = *value != kOutside;
}

}  // namespace fastnnunet::preprocessing
