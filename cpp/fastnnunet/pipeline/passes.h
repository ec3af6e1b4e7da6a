// Passes over a drawn plan: from plan to plan, before there are voxels. Each begins at the step `first`; what comes
// before has run already. See Note [A plan is where work is saved].
#pragma once

#include <cstddef>

#include "fastnnunet/pipeline/plan.h"

namespace fastnnunet::pipeline {

// Takes back what passes have made of the steps: each then does all that its parameters say, and nothing else.
void forget_passes(Plan& plan, std::size_t first = 0);

// Steps whose parameters change nothing do not run.
void drop_idle(Plan& plan, std::size_t first = 0);

// Moves of voxels (mirrors, turns, exchanged axes) are done by whoever writes the voxels before, or by an earlier step
// that moves them anyway, as far as all steps between are indifferent to them; image and labels each by themselves.
void sink_moves(Plan& plan, std::size_t first = 0);

// Pointwise arithmetic is done by the next step that reads the channel: on the way, if it takes arithmetic, or else
// before it. The last pass: which steps still read the image must be settled.
void fold_arithmetic(Plan& plan, std::size_t first = 0);

// All of them in this order. Throws TransformError.
void optimise(Plan& plan, std::size_t first = 0);

}  // namespace fastnnunet::pipeline
