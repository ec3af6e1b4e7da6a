// One training target of a sample.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/target_type.h"

namespace fastnnunet::sample {

// Whether every value of one type is a value of the other.
bool holds(TargetType wider, TargetType type);

// One training target of a sample: the segmentation, or the segmentation at one scale of deep supervision.
struct Target {
  TargetType type = TargetType::int16;
  void* data = nullptr;  // (C, X, Y, Z), C-contiguous
  std::int64_t channels = 0;
  Index3 shape{};

  std::size_t bytes() const { return static_cast<std::size_t>(channels * voxels(shape)) * element_bytes(type); }
};

// Copies the values of one target into another of the same size whose type holds them.
void copy_values(const Target& from, const Target& to);

}  // namespace fastnnunet::sample
