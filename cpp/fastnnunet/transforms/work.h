// What a step of a plan does beside its own parameters.
#pragma once

#include <cstdint>

#include "fastnnunet/random/stream.h"
#include "fastnnunet/sample/linear.h"
#include "fastnnunet/sample/moves/moves.h"
#include "fastnnunet/sample/sample.h"

namespace fastnnunet::transforms {

class Work {
 public:
  // Of a transform by itself: it does all that its parameters say, and leaves nothing to others. `field` is for random
  // fields, such as noise. It and what follows must outlive the work.
  Work(const random::Stream& field) : field_(field) {}  // NOLINT(google-explicit-constructor)
  // Of a step: `moves` is null where the plan has none for it.
  Work(const random::Stream& field, const sample::SampleMoves* moves, sample::ChannelArithmetic* arithmetic)
      : field_(field), moves_(moves), arithmetic_(arithmetic) {}

  const random::Stream& field() const { return field_; }
  // For those that have permutes or writes_permuted among their traits.
  const sample::SampleMoves* moves() const { return moves_; }

  // For those that have takes_arithmetic: what is to be done with the values of a channel before anything else.
  sample::Linear take(std::int64_t channel) const {
    return arithmetic_ != nullptr ? arithmetic_->take(channel) : sample::Linear{};
  }
  // For those that have leaves_arithmetic: what is still to be done with the values of a channel, after what has been
  // left already. Without a next reader it is done here.
  void leave(sample::Sample& sample, std::int64_t channel, const sample::Linear& arithmetic) const {
    if (!arithmetic.changes()) return;
    if (arithmetic_ != nullptr)
      arithmetic_->add(channel, arithmetic);
    else
      apply_to_channel(sample, channel, arithmetic);
  }

  // In place, on all threads that have time.
  static void apply_to_channel(sample::Sample& sample, std::int64_t channel, const sample::Linear& arithmetic) {
    if (!arithmetic.changes()) return;
    sample.workspace().share_values(sample.image().channel_span(channel),
                                    [&](std::span<float> part, std::size_t) { sample::settle(arithmetic, part); });
  }

 private:
  const random::Stream& field_;
  const sample::SampleMoves* moves_ = nullptr;
  sample::ChannelArithmetic* arithmetic_ = nullptr;
};

}  // namespace fastnnunet::transforms
