// How long something took, each time, over all threads: how often, in all, the median and the slowest hundredth, to
// within 6 %. Noting one is two additions; nothing is allocated.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace fastnnunet {

inline double in_seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

class Durations {
 public:
  struct Summary {
    std::uint64_t count = 0;
    double total = 0;  // seconds, as the others
    double median = 0;
    double p99 = 0;
  };

  void add(std::chrono::nanoseconds duration) noexcept {
    const auto nanoseconds = static_cast<std::uint64_t>(duration.count() > 0 ? duration.count() : 0);
    counts_[bucket_of(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
    total_.fetch_add(nanoseconds, std::memory_order_relaxed);
  }

  // As of now; what other threads note meanwhile may be in it or not.
  Summary summary() const {
    std::array<std::uint64_t, kBuckets> counts;
    Summary summary;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      counts[bucket] = counts_[bucket].load(std::memory_order_relaxed);
      summary.count += counts[bucket];
    }
    summary.total = static_cast<double>(total_.load(std::memory_order_relaxed)) * 1e-9;
    // The half-th of 1 is the first, that of 4 the second.
    summary.median = quantile(counts, (summary.count + 1) / 2);
    summary.p99 = quantile(counts, summary.count - summary.count / 100);
    return summary;
  }

 private:
  // Eight buckets for each power of two, up to 2^42 ns: more than an hour.
  static constexpr int kSteps = 3;
  static constexpr std::size_t kBuckets = (42 - kSteps + 1) << kSteps;

  static std::size_t bucket_of(std::uint64_t nanoseconds) {
    if (nanoseconds < (std::uint64_t{1} << kSteps)) return static_cast<std::size_t>(nanoseconds);
    const int power =
        static_cast<int>(std::bit_width(nanoseconds)) - 1 - kSteps;  // how many of the low bits do not count
    const std::size_t bucket = (static_cast<std::size_t>(power) << kSteps) + (nanoseconds >> power);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }

  // Seconds, in the middle of the bucket.
  static double middle_of(std::size_t bucket) {
    if (bucket < (std::size_t{1} << kSteps)) return static_cast<double>(bucket) * 1e-9;
    const std::size_t power = (bucket >> kSteps) - 1;
    const double lower = static_cast<double>((bucket - (power << kSteps)) << power);
    return (lower + 0.5 * static_cast<double>((std::size_t{1} << power) - 1)) * 1e-9;
  }

  // Of the `rank`-th in the order of length, counted from 1; 0 for none.
  static double quantile(const std::array<std::uint64_t, kBuckets>& counts, std::uint64_t rank) {
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; rank > 0 && bucket < kBuckets; ++bucket) {
      seen += counts[bucket];
      if (seen >= rank) return middle_of(bucket);
    }
    return 0;
  }

  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
  std::atomic<std::uint64_t> total_{0};
};

// Runs from its making to read().
class Stopwatch {
 public:
  std::chrono::nanoseconds read() const { return std::chrono::steady_clock::now() - begin_; }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace fastnnunet
