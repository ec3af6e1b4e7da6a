// The areas of a label as polygons, to be drawn over an image.
#pragma once

#include <cstdint>
#include <vector>

namespace fastnnunet::pictures {

struct OutlinePoint {
  float row, column;  // in voxels; the centre of the first voxel is (0, 0)
};
using Outline = std::vector<OutlinePoint>;  // closed: the last point is joined to the first

// mask: (rows, columns), C-contiguous; what is not 0 belongs to the label. One polygon for each area and for each hole
// in it. Polygons run an eighth of a voxel inside of the area: those of two labels that touch lie side by side, and a
// single voxel is a square. Throws InvalidArgument for sizes that are not positive.
std::vector<Outline> outlines(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns);

}  // namespace fastnnunet::pictures
