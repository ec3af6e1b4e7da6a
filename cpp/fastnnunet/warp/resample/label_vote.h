// Which label a position between voxels gets: the one with the most interpolated weight.
#pragma once

#include <cstdint>

#include "fastnnunet/base/vote.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/resample/runs.h"

namespace fastnnunet::warp {

// Writes out[first, last) of the piece. Corners outside of the box count as `outside`.
void vote_run(const sample::SourceView<std::int16_t>& view, const Strides& strides, const RunOfPositions& run,
              std::int16_t outside, base::Tiebreak tiebreak, std::int16_t* out);

}  // namespace fastnnunet::warp
