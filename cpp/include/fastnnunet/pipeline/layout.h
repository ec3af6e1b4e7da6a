// Shapes of a finished sample.
#pragma once

#include <cstdint>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/target_type.h"

namespace fastnnunet {

// They are the same for all samples of a batch.
struct Layout {
  std::int64_t image_channels = 0;
  Index3 image_shape{};
  int dims = 3;
  struct TargetLayout {
    TargetType type = TargetType::int16;
    std::int64_t channels = 0;
    Index3 shape{};
    bool operator==(const TargetLayout&) const = default;
  };
  std::vector<TargetLayout> targets;
  bool target_is_list = false;  // deep supervision gives a list, even of one
  // Of the regression target, float32; without channels there is none.
  std::int64_t regression_channels = 0;
  Index3 regression_shape{};

  bool operator==(const Layout&) const = default;
};

}  // namespace fastnnunet
