#include "fastnnunet/engine/loader/thread_growth.h"

#include <algorithm>
#include <cmath>

namespace fastnnunet::engine {
namespace {

// What is looked at together: shorter periods tell of chance.
constexpr std::uint64_t kBatches = 32;
constexpr double kSeconds = 2;
// Shares of a period.
constexpr double kWaited = 0.05;  // that a training notices
constexpr double kBusy = 0.85;    // of the time of all threads; else they had nothing to do
// Threads that bring less than this are not worth their cores.
constexpr double kFaster = 1.1;

}  // namespace

int ThreadGrowth::after_batch(const Progress& now, int threads) {
  if (!may_grow(threads)) return threads;
  if (before_.batches == 0) before_ = now;  // for the first batch everybody waits
  const double seconds = now.seconds - before_.seconds, waited = now.waited - before_.waited;
  const double thread_seconds = now.thread_seconds - before_.thread_seconds;
  const std::uint64_t batches = now.batches - before_.batches;
  if (batches < kBatches || seconds < kSeconds) return threads;
  before_ = now;
  const double rate = static_cast<double>(batches) / seconds;
  if (rate < kFaster * rate_) {
    settle(threads);
    return threads;
  }
  rate_ = 0;
  if (waited < kWaited * seconds || thread_seconds < kBusy * seconds * threads) return threads;
  rate_ = rate;
  // The consumer uses its batches in the time in which it does not wait for them.
  const double used = std::max(seconds - waited, 1e-3 * seconds);
  const double needed = std::ceil(threads * seconds / used - 1e-6);  // but for the rounding of whole quotients
  return static_cast<int>(std::min<double>({needed, 2.0 * threads, static_cast<double>(most_)}));
}

}  // namespace fastnnunet::engine
