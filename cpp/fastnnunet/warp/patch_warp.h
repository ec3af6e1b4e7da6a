// One patch of a sample, turned, scaled, deformed or just cropped out of its window: image and labels, read from their
// sources or taken from memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/moves/moves.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/crop.h"
#include "fastnnunet/warp/grid.h"
#include "fastnnunet/warp/resample/resample.h"

namespace fastnnunet::warp {

// How one of the two inputs is resampled; "zeros" is a constant of 0.
template <typename T>
struct InterpolationOptions {
  const char* border_name;  // of the parameter
  Border border = Border::constant;
  T outside = 0;
  Interpolation interpolation = Interpolation::linear;
};

// Where the patch lies.
struct PatchPlace {
  const Grid& grid;
  bool crop;                           // neither turned nor scaled nor deformed
  const Displacements* displacements;  // null where it is not deformed
};

// Room for lists of channels, kept from sample to sample.
struct WarpViews {
  std::vector<sample::SourceView<float>> image;
  std::vector<sample::SourceView<std::int16_t>> labels;
};

struct PatchWarp {
  int dims;
  Index3 patch;  // (X, Y, Z); in 2D X is that of the window
  InterpolationOptions<float> image;
  InterpolationOptions<std::int16_t> labels;
  base::Tiebreak tiebreak;

  // out: (C, X, Y, Z), the patch of every channel, its voxels moved as `move` says: rows are turned around as they are
  // written, and axes change places on the way where the patch is copied from memory, else afterwards (scratch buffers:
  // permutation_scratch). Throws InvalidArgument where the border cannot fill a crop, and StorageError.
  void warp(Input<float>& input, const PatchPlace& place, const sample::AxisPermutation& move, float* out) const;
  void warp(Input<std::int16_t>& input, const PatchPlace& place, const sample::AxisPermutation& move,
            std::int16_t* out) const;

  // All channels of image and labels at once, where they are all in memory and follow the same positions: making these
  // takes a good part of the time. False where it cannot be done, and nothing is.
  bool warp_together(Input<float>& image_input, Input<std::int16_t>& label_input, const PatchPlace& place,
                     const sample::SampleMoves& moves, WarpViews& views, float* image_out,
                     std::int16_t* labels_out) const;

 private:
  template <typename T>
  void warp_channels(Input<T>& input, const PatchPlace& place, const InterpolationOptions<T>& options,
                     const sample::AxisPermutation& move, T* out) const;
  Index3 patch_of(const Index3& window) const;
  Positions positions_in(const Index3& window, const PatchPlace& place, Border border) const;
  template <typename T>
  Box box_for(const Input<T>& input, const Positions& positions, const InterpolationOptions<T>& options) const;
  ImageResampling resampling_of(std::span<const sample::SourceView<float>> channels, const sample::Flips& flips,
                                float* out) const;
  LabelResampling resampling_of(std::span<const sample::SourceView<std::int16_t>> channels, const sample::Flips& flips,
                                std::int16_t* out) const;
};

}  // namespace fastnnunet::warp
