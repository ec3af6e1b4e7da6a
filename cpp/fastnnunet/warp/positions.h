// Where the voxels of a patch lie in the window: an affine map of the patch, displaced by a field or not, and folded
// back into the window where its border asks for that.
#pragma once

#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet::warp {

// What a position outside of the window takes: a constant ("zeros", "constant"), the nearest edge voxel ("border"), or
// the voxel at its mirror image ("reflection").
enum class Border { constant, edge, reflection };

// A displacement for every voxel of a patch, in voxels of the patch's axes.
struct Displacements {
  std::array<const float*, 3> component{};  // each (X, Y, Z), or (Y, Z) if `planar`; null: not along this axis
  std::array<double, 3> low{}, high{}, mean{};
};

// Positions along an axis of the window that follows one axis of the patch alone. Then every voxel may lie midway
// between two, and whose label it takes hangs on rounding: bgv2's, step by step, in float32.
struct Lattice {
  int of = -1;  // axis of the patch; -1: the axis follows several
  float entry = 1.0f;
  float middle = 0.0f;  // of the patch
  float shift = 0.0f;   // of the patch's centre from the window's
  float half_size = 0.0f;
  bool align_corners = false;
  bool fused = false;  // torch's 2D kernel multiplies and subtracts with one rounding, its 3D kernel with two

  float at(std::int32_t index) const {
    const float moved = (static_cast<float>(index) - middle) * entry + shift;
    const float from_edge = moved / half_size + 1.0f;  // grid_sample's -1 to 1, counted from 0
    if (align_corners) return from_edge * (half_size - 0.5f);
    if (fused) return static_cast<float>(static_cast<double>(from_edge) * static_cast<double>(half_size) - 0.5);
    return from_edge * half_size - 0.5f;
  }
};

// Position in the window of the patch's voxel (i, j, k), in voxels: to_window * ((i, j, k) + displacement).
struct Positions {
  Eigen::Affine3d to_window = Eigen::Affine3d::Identity();
  std::array<Lattice, 3> lattice{};  // decides where it has an axis; `to_window` says the same but for rounding
  const Displacements* displacements = nullptr;
  Border border = Border::constant;
  bool align_corners = false;  // mirrors lie on the outermost voxels, not at their outer edges
  bool planar = false;         // 2D: X numbers planes, which are kept, and all of them are displaced alike
};

// The voxels of the window that linear interpolation of the patch touches, cut to the window.
Box needed_box(const Positions& positions, const Index3& patch, const Index3& window);

// A row of the patch is worked on in pieces, so that its positions stay in registers and first-level cache.
constexpr std::int64_t kPiece = 128;

// Positions of one piece along one axis: the voxel below, relative to the box, and how far beyond it.
// The struct is aligned and not its arrays: of over-aligned elements GCC gathers nothing.
struct alignas(64) AxisPositions {
  std::int32_t whole[kPiece];
  float fraction[kPiece];
};

// Which of a position's eight corners lie in the box.
enum Place : std::int32_t {
  kOutside = 0,  // none: all of them are beyond the same side
  kAcross = 1,   // not all
  kInside = 2,   // all
};

// Positions of pieces of rows, relative to a box of the window.
class Pieces {
 public:
  Pieces(const Positions& positions, const Index3& patch, const Index3& window, const Box& box);

  // Makes those of `count` voxels from (i, j, begin), and returns them; they stay until the next call.
  const AxisPositions (&fill(std::int64_t i, std::int64_t j, std::int64_t begin, std::int64_t count))[3];

  // Where the first `count` of them lie. Returns whether all of them lie where the first one does; the others' places
  // are then not told.
  bool places(std::int64_t count, std::int32_t* places) const;

  // Every axis of the window follows the patch's axis of the same number.
  bool separable() const { return separable_; }

  // Every position along X is a voxel, and of a voxel's corners those beyond it are not looked at.
  bool flat() const { return flat_; }

 private:
  bool inside(std::int64_t k) const;  // all corners of the piece's position `k`
  void fill_lattice(int axis, std::int64_t begin, std::int64_t count, AxisPositions& out) const;
  // Positions into the window and its border, and into voxel and fraction. `at` is worked on.
  void fold(int axis, double* at, std::int64_t count, AxisPositions& out) const;

  const Positions& positions_;
  Index3 patch_;
  Index3 window_;
  Index3 lower_;
  Index3 shape_;  // of the box
  bool flat_;
  bool separable_;
  struct Held {
    std::int64_t at = -1, count = 0;
  };
  std::array<Held, 3> held_{};  // of lattices, whose positions are the same for row after row
  AxisPositions axes_[3];
};

// Rows that lie near each other in the patch read the same lines of memory where it is turned. Those of a tile of
// planes and rows are done together, so that these lines are in the processor's cache.
constexpr std::int64_t kTilePlanes = 16, kTileRows = 8;

// Calls run({i, j, begin}, axes, first, last, place) for runs [first, last) of the pieces of every row in planes
// [lower, upper) of the patch; (i, j, begin) is the piece's first voxel.
template <typename Run>
void for_each_run(Pieces& pieces, const Index3& patch, std::int64_t lower, std::int64_t upper, Run&& run) {
  alignas(64) std::int32_t places[kPiece];
  for (std::int64_t tile_i = lower; tile_i < upper; tile_i += kTilePlanes)
    for (std::int64_t tile_j = 0; tile_j < patch[1]; tile_j += kTileRows)
      for (std::int64_t i = tile_i; i < std::min(upper, tile_i + kTilePlanes); ++i)
        for (std::int64_t j = tile_j; j < std::min(patch[1], tile_j + kTileRows); ++j)
          for (std::int64_t begin = 0; begin < patch[2]; begin += kPiece) {
            const std::int64_t count = std::min(kPiece, patch[2] - begin);
            const AxisPositions(&axes)[3] = pieces.fill(i, j, begin, count);
            const Index3 at{i, j, begin};
            if (pieces.places(count, places)) {
              run(at, axes, 0, count, static_cast<Place>(places[0]));
              continue;
            }
            for (std::int64_t first = 0, last = 0; first < count; first = last) {
              while (last < count && places[last] == places[first]) ++last;
              run(at, axes, first, last, static_cast<Place>(places[first]));
            }
          }
}

}  // namespace fastnnunet::warp
