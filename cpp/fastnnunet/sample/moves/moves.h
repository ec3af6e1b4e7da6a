// How the voxels of a sample change places without changing: axes that are turned around or change places.
#pragma once

#include <array>
#include <utility>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/moves/flips.h"

namespace fastnnunet::sample {

struct AxisPermutation {
  // Axis `a` of the result is axis `from[a]` of the source, backwards where `reversed[a]`. Axes are those of Index3.
  std::array<int, 3> from{0, 1, 2};
  Flips reversed{};

  bool operator==(const AxisPermutation&) const = default;
  bool changes() const { return *this != AxisPermutation{}; }
  // Axes stay where they are: the result is the source, turned around.
  bool only_flips() const { return from == std::array<int, 3>{0, 1, 2}; }
  // The shape of the result is that of the source.
  bool keeps(const Index3& shape) const {
    return shape[from[0]] == shape[0] && shape[from[1]] == shape[1] && shape[from[2]] == shape[2];
  }
  // This one, and `next` after it.
  AxisPermutation then(const AxisPermutation& next) const {
    AxisPermutation both;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const auto between = static_cast<std::size_t>(next.from[axis]);
      both.from[axis] = from[between];
      both.reversed[axis] = next.reversed[axis] != reversed[between];
    }
    return both;
  }
  // torch.rot90's turn of the plane of two axes, after what is there already.
  void turn(int first, int second) {
    std::swap(from[static_cast<std::size_t>(first)], from[static_cast<std::size_t>(second)]);
    std::swap(reversed[static_cast<std::size_t>(first)], reversed[static_cast<std::size_t>(second)]);
    reversed[static_cast<std::size_t>(first)] = !reversed[static_cast<std::size_t>(first)];
  }
};

struct SampleMoves {
  AxisPermutation image;
  AxisPermutation labels;

  bool operator==(const SampleMoves&) const = default;
  bool changes() const { return image.changes() || labels.changes(); }
};

}  // namespace fastnnunet::sample
