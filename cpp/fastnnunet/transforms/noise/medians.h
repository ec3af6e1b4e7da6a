// Medians of the cube around each voxel, as scipy.ndimage.median_filter has them with its default border (the voxel at
// the border is repeated) and, for even sizes, its window one voxel to the front.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/memory/workspace.h"

namespace fastnnunet::transforms {

// A channel whose rows have the borders that windows reach into, along Z and with room for whole blocks of lanes.
class PaddedRows {
 public:
  // Values that it takes.
  static std::int64_t count(const Index3& shape, std::int64_t size);

  // Of a channel (X, Y, Z) of `shape`, for a window of `size` along Z. `memory` has room for count().
  PaddedRows(const float* channel, const Index3& shape, std::int64_t size, float* memory);

  const Index3& shape() const { return shape_; }
  // The row at (x, y), which may lie behind a border; it begins with the first window's first voxel.
  const float* row(std::int64_t x, std::int64_t y) const;

 private:
  static std::int64_t row_length(const Index3& shape, std::int64_t size) { return shape[2] + size - 1; }

  const float* values_;
  Index3 shape_;
  std::int64_t size_;
};

// Sizes of the window and of a tile, without and with the borders.
struct MedianTiles {
  Index3 window;
  Index3 tile;

  MedianTiles(std::int64_t size, const Index3& shape, int dims);
  Index3 padded() const { return padded(tile); }
  Index3 padded(const Index3& of) const {
    return {of[0] + window[0] - 1, of[1] + window[1] - 1, of[2] + window[2] - 1};
  }
};

// What filter_median() takes of the workspace's scratch buffers 1 to 5 for tiles of at most `voxels` with their borders
// and windows of `size`, in bytes. Number 0 is left to the caller, for the padded rows.
sample::Workspace::ScratchSizes median_scratch(std::int64_t voxels, std::int64_t size);

// Every voxel's median. out: (X, Y, Z), of the channel that `in` was made of. Where the channel has NaN, `has_nan`.
void filter_median(sample::Workspace& workspace, const MedianTiles& tiles, const PaddedRows& in, bool has_nan,
                   float* out);

}  // namespace fastnnunet::transforms
