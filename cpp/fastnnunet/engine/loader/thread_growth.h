// How many threads a loader should have, by what its consumer waited for.
#pragma once

#include <cstdint>

namespace fastnnunet::engine {

// Of a loader, since its first batch was asked for.
struct Progress {
  std::uint64_t batches = 0;  // handed out
  double seconds = 0;
  double waited = 0;          // of these, by the consumer
  double thread_seconds = 0;  // of all samples that were made
};

// Threads are added while the consumer waits and all of them are busy, as many as would make batches at the rate at
// which it could use them, and at the most as many again. Where that brings little, something else is the limit (a lock
// of Python's, a disk, other programs), and their number stays from then on. None is ever taken away: one without work
// sleeps.
class ThreadGrowth {
 public:
  explicit ThreadGrowth(int most) : most_(most) {}

  // Whether there may be more than these.
  bool may_grow(int threads) const { return threads < most_; }
  // To be told after each batch, with how many threads there are. Returns how many there should be.
  int after_batch(const Progress& now, int threads);
  // There will not be more than these.
  void settle(int threads) { most_ = threads; }

 private:
  int most_;
  Progress before_;  // at the beginning of the period; the first begins with the first batch
  double rate_ = 0;  // batches per second before threads were added; 0: none were
};

}  // namespace fastnnunet::engine
