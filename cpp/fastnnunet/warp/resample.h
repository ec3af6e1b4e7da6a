// Resampling of one patch. Linear: intensities are interpolated, and the label with the most interpolated weight wins.
// Nearest: both are a voxel's.
#pragma once

#include <cstdint>
#include <span>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/flips.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/sample/workspace.h"
#include "fastnnunet/warp/label_vote.h"
#include "fastnnunet/warp/positions.h"

namespace fastnnunet {

enum class Interpolation { linear, nearest };

// What is resampled: the same box of every channel, with the same steps. Corners outside of the box count as `outside`.
// out: (C, X, Y, Z), (X, Y, Z) being the patch, which is turned around as it is written.
struct ImageResampling {
  std::span<const SourceView<float>> channels;
  Interpolation interpolation = Interpolation::linear;
  float outside = 0.0f;
  float* out = nullptr;
  Flips flips{};
};

struct LabelResampling {
  std::span<const SourceView<std::int16_t>> channels;
  Interpolation interpolation = Interpolation::linear;
  std::int16_t outside = 0;
  Tiebreak tiebreak = Tiebreak::nearest;
  std::int16_t* out = nullptr;
  Flips flips{};
};

// One or both, at the same positions: these are made once. `box` is that of all channels, `window` what it is of.
void resample(const Workspace& workspace, const Positions& positions, const Index3& patch, const Index3& window,
              const Box& box, const ImageResampling* image, const LabelResampling* labels);

}  // namespace fastnnunet
