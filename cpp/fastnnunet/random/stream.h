// A stream of random numbers for one purpose: one transform (or the sampling) of one sample. It is named by
// (seed, rank, role) through its key and by (step, slot, purpose) through its counter, and nothing else.
#pragma once

#include <cstdint>
#include <span>

#include "fastnnunet/random/philox.h"
#include "fastnnunet/random/sample_id.h"

namespace fastnnunet::random {

class Stream {
 public:
  // What the counter of a stream has room for: two streams of one run never share numbers.
  static constexpr std::uint32_t kMostSlots = 1u << 16, kMostPurposes = 1u << 20, kMostAttempts = 1u << 12;
  static constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 48;

  // `purpose` numbers the consumers of one sample: 0 is the sampling, transforms follow in the order of the tree.
  // Throws InvalidArgument for a sample or a purpose beyond the above.
  Stream(const SampleId& sample, std::uint32_t purpose);

  std::uint32_t next_uint32();
  std::uint64_t next_uint64();
  // [0, 1), 53 bits.
  double uniform();
  // [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  bool bernoulli(double probability) { return uniform() < probability; }
  // [0, count), without bias (Lemire, "Fast random integer generation in an interval", 2019).
  std::uint64_t below(std::uint64_t count);
  // Both ends included.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  double normal();
  void shuffle(std::span<std::int64_t> values);
  std::uint64_t seed_for_python() { return next_uint64(); }

  // out[i] += sigma * n_i with n_i standard normal, float32; number i depends on (stream, first + i) only. A field
  // takes a stream of its own: it does not advance next_uint32().
  void add_normal(std::span<float> out, std::uint64_t first, float sigma) const;

 private:
  Philox::Key key_;
  Philox::Counter counter_;  // [0] is the block's number
  Philox::Counter block_{};
  int used_ = 4;
};

}  // namespace fastnnunet::random
