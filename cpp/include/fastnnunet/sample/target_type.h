// The element types of training targets. Native transforms know labels (int16) and regions (bool); transforms in Python
// may give any other, and it reaches the batch as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fastnnunet/base/api.h"

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

FASTNNUNET_API std::size_t element_bytes(TargetType type);
// As torch calls it.
FASTNNUNET_API std::string_view name_of(TargetType type);

}  // namespace fastnnunet
