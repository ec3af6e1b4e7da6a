// The form of a sample, without its voxels.
#pragma once

#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet {

// What a transform sees of a sample before there are pixels.
struct Geometry {
  std::int64_t image_channels = 1;
  std::int64_t segmentation_channels = 1;
  Index3 shape{};           // of both; a 2D sample has shape[0] = 1
  int dims = 3;             // spatial axes that count: 2 or 3, the last ones of `shape`
  std::int64_t planes = 0;  // of a 3D sample that is 2D for a while, its planes counted as channels

  bool operator==(const Geometry&) const = default;
};

}  // namespace fastnnunet
