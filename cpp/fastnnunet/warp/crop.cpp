#include "fastnnunet/warp/crop.h"

#include <cmath>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::warp {

Box source_of_crop(const Box& box, const Index3& window, Border border) {
  Box source = box.intersect(Box::of_shape(window));
  if (border == Border::constant) return source;
  for (int axis = 0; axis < 3; ++axis) {
    const std::int64_t low = folded(box.lower[axis], window[axis], border);
    const std::int64_t high = folded(box.upper[axis] - 1, window[axis], border);
    const bool below = box.lower[axis]<0, above = box.upper[axis]> window[axis];
    source.lower[axis] = border == Border::reflection && below ? 0 : std::min(low, high);
    source.upper[axis] = border == Border::reflection && above ? window[axis] : std::max(low, high) + 1;
  }
  return source;
}

Box crop_box(const Eigen::Vector3d& centre, int dims, const Index3& patch, const Index3& window, Border border,
             const char* border_name) {
  Box box = Box::of_shape(window);
  for (int axis = 3 - dims; axis < 3; ++axis) {
    const std::int64_t size = window[axis];
    const std::int64_t lower = static_cast<std::int64_t>(std::floor(centre[axis])) - patch[axis] / 2;
    const std::int64_t upper = lower + patch[axis];
    box.lower[axis] = lower;
    box.upper[axis] = upper;
    bool possible = true;
    switch (border) {
      case Border::constant:
        possible = lower <= size && upper >= 0;
        break;
      case Border::edge:
        possible = lower < size;
        break;
      case Border::reflection: {
        // What is mirrored is the crop's own part of the image, without the edge voxel.
        const std::int64_t first = std::max<std::int64_t>(lower, 0);
        const std::int64_t part = std::min(size, first + patch[axis]) - first;
        possible = -lower < part && upper - size < part;
        break;
      }
    }
    if (!possible)
      throw InvalidArgument(
          "SpatialTransform",
          "a crop along axis " + std::to_string(axis - 3 + dims) + " that '" + border_name + "' can fill",
          "voxels " + std::to_string(lower) + " to " + std::to_string(upper) + " of " + std::to_string(size));
  }
  return box;
}

}  // namespace fastnnunet::warp
