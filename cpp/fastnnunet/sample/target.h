// The element types of training targets. Native transforms know labels (int16) and regions (bool); transforms in Python
// may give any other, and it reaches the batch as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fastnnunet/base/box.h"

namespace fastnnunet {

enum class TargetType : std::uint8_t {
  int16,
  boolean,
  uint8,
  int8,
  int32,
  int64,
  float16,
  bfloat16,
  float32,
  float64,
};

std::size_t element_bytes(TargetType type);
// As torch calls it.
std::string_view name_of(TargetType type);
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

}  // namespace fastnnunet
