#include "fastnnunet/sample/moves/flips.h"

#define HWY_TARGET_INCLUDE "fastnnunet/sample/moves/flips.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::sample::HWY_NAMESPACE {
namespace {

// Two rows change places, or one is turned, and all their voxels go through `map`.
struct Same {
  template <typename T>
  T operator()(T value) const {
    return value;
  }
};

template <typename T, typename Map>
HWY_INLINE void swap_rows(T* HWY_RESTRICT a, T* HWY_RESTRICT b, std::int64_t count, bool turn, Map map) {
  if (turn) {
    for (std::int64_t z = 0; z < count; ++z) {
      const T value = a[z];
      a[z] = map(b[count - 1 - z]);
      b[count - 1 - z] = map(value);
    }
  } else {
    for (std::int64_t z = 0; z < count; ++z) {
      const T value = a[z];
      a[z] = map(b[z]);
      b[z] = map(value);
    }
  }
}

template <typename T, typename Map>
HWY_INLINE void turn_row(T* row, std::int64_t count, bool turn, Map map) {
  if (turn) std::reverse(row, row + count);
  for (std::int64_t z = 0; z < count; ++z) row[z] = map(row[z]);
}

// In place: rows change places with their mirror rows and are turned on the way.
template <typename T, typename Map = Same>
HWY_INLINE void flip_channel(T* data, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end,
                             Map map = {}) {
  const std::int64_t row = shape[2];
  for (std::int64_t x = begin; x < end; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      const std::int64_t number = x * shape[1] + y;
      const std::int64_t other = flipped(x, shape[0], flips[0]) * shape[1] + flipped(y, shape[1], flips[1]);
      if (other == number)
        turn_row(data + number * row, row, flips[2], map);
      else if (other > number)
        swap_rows(data + number * row, data + other * row, row, flips[2], map);
    }
}

template <typename T>
HWY_INLINE void turn(const T* HWY_RESTRICT from, std::int64_t count, T* HWY_RESTRICT to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = from[count - 1 - i];
}

// Instruction sets differ in how they turn a row.
void flip_image(float* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end,
                Linear due) {
  flip_channel(channel, shape, flips, begin, end, due);
}

void flip_labels(std::int16_t* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end) {
  flip_channel(channel, shape, flips, begin, end);
}

void flip_regions(std::uint8_t* channel, const Index3& shape, const Flips& flips, std::int64_t begin,
                  std::int64_t end) {
  flip_channel(channel, shape, flips, begin, end);
}

void reverse_values(const float* from, std::int64_t count, float* to) { turn(from, count, to); }

void reverse_labels(const std::int16_t* from, std::int64_t count, std::int16_t* to) { turn(from, count, to); }

}  // namespace
}  // namespace fastnnunet::sample::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::sample {
namespace {

FASTNNUNET_DISPATCH(flip_image);
FASTNNUNET_DISPATCH(flip_labels);
FASTNNUNET_DISPATCH(flip_regions);
FASTNNUNET_DISPATCH(reverse_values);
FASTNNUNET_DISPATCH(reverse_labels);

}  // namespace

void flip(float* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end,
          const Linear& due) {
  flip_image(channel, shape, flips, begin, end, due);
}
void flip(std::int16_t* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end) {
  flip_labels(channel, shape, flips, begin, end);
}
void flip(std::uint8_t* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end) {
  flip_regions(channel, shape, flips, begin, end);
}

void copy_reversed(const float* from, std::int64_t count, float* to) { reverse_values(from, count, to); }
void copy_reversed(const std::int16_t* from, std::int64_t count, std::int16_t* to) { reverse_labels(from, count, to); }

}  // namespace fastnnunet::sample
#endif  // HWY_ONCE
