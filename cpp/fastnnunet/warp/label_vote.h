// Which label a position between voxels gets: the one with the most interpolated weight.
#pragma once

#include <cstdint>

#include "fastnnunet/base/vote.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/runs.h"

namespace fastnnunet {

// Writes out[first, last) of the piece. Corners outside of the box count as `outside`.
void vote_run(const SourceView<std::int16_t>& view, const Strides& strides, const RunOfPositions& run,
              std::int16_t outside, Tiebreak tiebreak, std::int16_t* out);

}  // namespace fastnnunet
