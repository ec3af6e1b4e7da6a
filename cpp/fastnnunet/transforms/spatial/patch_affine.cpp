#include "fastnnunet/transforms/spatial/patch_affine.h"

#include <cmath>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::transforms {

void PatchAffine::check(std::string_view owner) const {
  constexpr double kLargest = 1e9;  // a patch is smaller than a voxel, or larger than any image, long before
  for (int axis = 3 - dims; axis < 3; ++axis) {
    const double centre = map.translation()[axis];
    if (!std::isfinite(centre))
      throw InvalidArgument(owner, "a finite 'center_location_in_pixels'", std::to_string(centre));
    if (std::abs(centre) > kLargest)
      throw InvalidArgument(owner, "'center_location_in_pixels' within 1e9 voxels", std::to_string(centre));
    for (int of = 3 - dims; of < 3; ++of) {
      const double entry = map(axis, of);
      if (!std::isfinite(entry)) throw InvalidArgument(owner, "'affine' to be finite", std::to_string(entry));
      if (std::abs(entry) > kLargest) throw InvalidArgument(owner, "'affine' within 1e9", std::to_string(entry));
    }
  }
}

void PatchAffine::describe(Record& record) const {
  Record::Numbers centre;
  Record::Rows affine;
  for (int axis = 3 - dims; axis < 3; ++axis) {
    centre.push_back(map.translation()[axis]);
    Record::Numbers& row = affine.emplace_back();
    for (int of = 3 - dims; of < 3; ++of) row.push_back(map(axis, of));
  }
  record.set("center_location_in_pixels", centre);
  record.set("affine", turns ? Record::Value(affine) : Record::Value(std::monostate{}));
}

void PatchAffine::restore(const Record& record, std::string_view owner) {
  const auto& centre = record.numbers("center_location_in_pixels");
  if (std::ssize(centre) != dims)
    throw InvalidArgument(owner, "'center_location_in_pixels' of " + std::to_string(dims) + " numbers",
                          std::to_string(centre.size()));
  turns = record.has("affine");
  map.setIdentity();
  const int first = 3 - dims;
  for (int axis = 0; axis < dims; ++axis) {
    const auto number = static_cast<std::size_t>(axis);
    map.translation()[first + axis] = centre[number];
    if (!turns) continue;
    const auto& rows = record.rows("affine");
    if (std::ssize(rows) != dims || std::ssize(rows[number]) != dims)
      throw InvalidArgument(owner, "'affine' of " + std::to_string(dims) + " rows and columns",
                            std::to_string(rows.size()) + " rows");
    for (int of = 0; of < dims; ++of) map(first + axis, first + of) = rows[number][static_cast<std::size_t>(of)];
  }
  check(owner);
}

}  // namespace fastnnunet::transforms
