// The transforms of one sample in order, with their parameters, and what passes (pipeline/passes.h) have made of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fastnnunet/random/stream.h"
#include "fastnnunet/sample/moves/moves.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::pipeline {

// Reused from sample to sample: memory for parameters is kept for every leaf. See Note [A plan is where work is saved].
class Plan {
 public:
  enum class State : std::uint8_t {
    runs,
    idle,      // its parameters change nothing
    absorbed,  // other steps do its work
  };

  // Pointwise arithmetic on a channel that one step leaves to the next that reads it.
  struct Arithmetic {
    std::size_t from;  // the step that leaves it
    std::int64_t channel;
    sample::Linear value;  // known from parameters, or else when that step has run
  };

  struct Step {
    std::size_t leaf;
    const transforms::Transform* transform;
    const transforms::Parameters* parameters;  // null in a plan of which only shapes are asked
    random::Stream field;                      // random fields of this application
    int dims;                                  // of the sample that it gets

    // Labels may be in a form by then that only Python knows: a transform in Python may stand in, and change anything.
    bool may_be_stood_in = false;
    State state = State::runs;
    // What it does with the voxels' places: its own moves, if that is what it is for, and those of later steps.
    sample::SampleMoves moves{};
    // Its part of Plan::arithmetic(): done before it reads, or as it reads.
    std::size_t first_arithmetic = 0, last_arithmetic = 0;
  };

  const std::vector<Step>& steps() const { return steps_; }
  std::span<const Arithmetic> arithmetic(const Step& step) const {
    return std::span(arithmetic_).subspan(step.first_arithmetic, step.last_arithmetic - step.first_arithmetic);
  }
  // What the last steps leave: done at the end.
  std::span<const Arithmetic> arithmetic_at_end() const {
    const std::size_t first = steps_.empty() ? 0 : steps_.back().last_arithmetic;
    return std::span(arithmetic_).subspan(first);
  }

 private:
  friend class Pipeline;
  friend class PlanPasses;

  std::vector<Step> steps_;
  std::vector<Arithmetic> arithmetic_;  // of the steps in their order, then that of the end
  bool folded_ = false;                 // the arithmetic that steps leave has readers
  std::vector<Arithmetic> pending_;     // of a pass
  sample::ChannelArithmetic present_;   // of the step that runs

  std::vector<std::unique_ptr<transforms::Parameters>> per_leaf_;
  std::vector<std::unique_ptr<transforms::Parameters>> replayed_;
  std::vector<Record> records_;  // of a replay, one for each step
  SampleId sample_;
};

}  // namespace fastnnunet::pipeline
