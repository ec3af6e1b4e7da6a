// Resampling of one patch. Linear: intensities are interpolated, and the label with the most interpolated weight wins.
// Nearest: both are a voxel's.
#pragma once

#include <cstdint>
#include <span>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/memory/workspace.h"
#include "fastnnunet/sample/moves/flips.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/positions.h"
#include "fastnnunet/warp/resample/label_vote.h"

namespace fastnnunet::warp {

enum class Interpolation { linear, nearest };

// What is resampled: the same box of every channel, with the same steps. Corners outside of the box count as `outside`.
// out: (C, X, Y, Z), (X, Y, Z) being the patch, which is turned around as it is written.
struct ImageResampling {
  std::span<const sample::SourceView<float>> channels;
  Interpolation interpolation = Interpolation::linear;
  float outside = 0.0f;
  float* out = nullptr;
  sample::Flips flips{};
};

struct LabelResampling {
  std::span<const sample::SourceView<std::int16_t>> channels;
  Interpolation interpolation = Interpolation::linear;
  std::int16_t outside = 0;
  base::Tiebreak tiebreak = base::Tiebreak::nearest;
  std::int16_t* out = nullptr;
  sample::Flips flips{};
};

// One or both, at the same positions: these are made once. `box` is that of all channels, `window` what it is of.
void resample(const sample::Workspace& workspace, const Positions& positions, const Index3& patch, const Index3& window,
              const Box& box, const ImageResampling* image, const LabelResampling* labels);

}  // namespace fastnnunet::warp
