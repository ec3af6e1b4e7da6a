#include "fastnnunet/sampling/class_locations.h"

#include <limits>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet {
namespace {

bool fits_32_bits(const Index3& shape) {
  return voxels(shape) <= std::int64_t{std::numeric_limits<std::uint32_t>::max()};
}

}  // namespace

void ClassLocations::add(std::vector<std::int64_t> labels, bool is_region, bool is_annotated,
                         std::span<const std::int64_t> voxels, int columns) {
  if (columns != 3 && columns != 4)
    throw InvalidArgument("class_locations", "voxels in rows of 3 or 4 numbers", std::to_string(columns));
  const std::size_t count = voxels.size() / static_cast<std::size_t>(columns);
  const bool small = fits_32_bits(shape_);
  Class added{std::move(labels), is_region, is_annotated, small ? small_.size() : large_.size(), count};
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t* row = voxels.data() + i * static_cast<std::size_t>(columns) + columns - 3;
    for (int axis = 0; axis < 3; ++axis) {
      if (row[axis] < 0 || row[axis] >= shape_[axis])
        throw InvalidArgument(
            "class_locations",
            "voxels inside the image of shape (" + std::to_string(shape_[0]) + ", " + std::to_string(shape_[1]) + ", " +
                std::to_string(shape_[2]) + ")",
            "(" + std::to_string(row[0]) + ", " + std::to_string(row[1]) + ", " + std::to_string(row[2]) + ")");
    }
    const std::int64_t linear = (row[0] * shape_[1] + row[1]) * shape_[2] + row[2];
    if (small)
      small_.push_back(static_cast<std::uint32_t>(linear));
    else
      large_.push_back(static_cast<std::uint64_t>(linear));
  }
  classes_.push_back(std::move(added));
}

Index3 ClassLocations::voxel(const Class& of, std::uint64_t number) const {
  const std::uint64_t at = of.first + number;
  const auto linear = static_cast<std::int64_t>(fits_32_bits(shape_) ? small_[at] : large_[at]);
  const std::int64_t plane = shape_[1] * shape_[2];
  return {linear / plane, linear % plane / shape_[2], linear % shape_[2]};
}

std::size_t ClassLocations::memory() const {
  std::size_t bytes =
      sizeof(*this) + small_.capacity() * sizeof(std::uint32_t) + large_.capacity() * sizeof(std::uint64_t);
  for (const Class& entry : classes_) bytes += sizeof(Class) + entry.labels.capacity() * sizeof(std::int64_t);
  return bytes;
}

}  // namespace fastnnunet
