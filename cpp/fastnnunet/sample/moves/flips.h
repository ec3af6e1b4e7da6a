// Turning arrays around along their axes: what a mirror does, to voxels that are there or to those that are just being
// written.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/linear.h"

namespace fastnnunet::sample {

// Along X, Y and Z.
using Flips = std::array<bool, 3>;

inline bool any_of(const Flips& flips) { return flips[0] || flips[1] || flips[2]; }

// Where plane or row number `at` of `size` goes.
inline std::int64_t flipped(std::int64_t at, std::int64_t size, bool flip) { return flip ? size - 1 - at : at; }

// One channel (X, Y, Z) in place: planes [begin, end), each with those that change places with it and come after it.
// Other planes may be worked on at the same time. `due`: arithmetic that each value goes through on the way.
void flip(float* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end,
          const Linear& due = {});
void flip(std::int16_t* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end);
void flip(std::uint8_t* channel, const Index3& shape, const Flips& flips, std::int64_t begin, std::int64_t end);

// `to` gets the row from its end to its beginning. They must not overlap.
void copy_reversed(const float* from, std::int64_t count, float* to);
void copy_reversed(const std::int16_t* from, std::int64_t count, std::int16_t* to);
inline void copy_reversed(const std::uint8_t* from, std::int64_t count, std::uint8_t* to) {
  std::reverse_copy(from, from + count, to);
}

// A row where it goes, as it is or turned.
template <typename T>
void copy_row(const T* from, std::int64_t count, bool turn, T* to) {
  if (turn)
    copy_reversed(from, count, to);
  else
    std::copy(from, from + count, to);
}

}  // namespace fastnnunet::sample
