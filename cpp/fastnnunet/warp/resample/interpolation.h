// Linear interpolation of intensities.
#pragma once

#include <cstdint>

#include "fastnnunet/base/box.h"
#include "fastnnunet/sample/moves/flips.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/positions.h"
#include "fastnnunet/warp/resample/runs.h"

namespace fastnnunet::warp {

// Writes out[first, last) of the piece. Corners outside of the box count as `outside`.
void interpolate_run(const sample::SourceView<float>& view, const Strides& strides, const RunOfPositions& run,
                     float outside, float* out);

// The longest row along Z of a box that interpolate_separably() takes.
inline constexpr std::int64_t kLongestRow = 4096;

// Planes [lower, upper) of the patch where the axes do not mix (Pieces::separable): rows are mixed as a whole, and then
// interpolated along themselves. `outside` must be finite, since differences of infinities are none.
// out: (X, Y, Z), the patch, which is turned around as it is written.
void interpolate_separably(const sample::SourceView<float>& view, Pieces& pieces, const Index3& patch,
                           std::int64_t lower, std::int64_t upper, float outside, const sample::Flips& flips,
                           float* out);

}  // namespace fastnnunet::warp
