#include "fastnnunet/base/parallel.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>

#include <algorithm>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"

namespace fastnnunet::base {
namespace {

// The ranges of a loop, which several threads take one after the other.
class Ranges {
 public:
  // More ranges than threads, for some take longer than others.
  Ranges(std::int64_t count, int threads) : count_(count), ranges_(std::min(count, std::int64_t{4} * threads)) {}

  // Takes ranges until there are none, or one has failed.
  void work(const RangeBody& body) noexcept {
    try {
      for (std::int64_t i = take(); i >= 0; i = take()) body(count_ * i / ranges_, count_ * (i + 1) / ranges_);
    } catch (...) {
      const MutexLock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  // The first failure.
  void rethrow() {
    const MutexLock lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  // -1 at the end.
  std::int64_t take() {
    const MutexLock lock(mutex_);
    return !failure_ && next_ < ranges_ ? next_++ : -1;
  }

  Mutex mutex_;
  std::int64_t next_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  std::int64_t count_;
  std::int64_t ranges_;
  std::exception_ptr failure_ FASTNNUNET_GUARDED_BY(mutex_);
};

}  // namespace

// Threads of its own, and not oneTBB's: a thread that has called oneTBB keeps its workers alive until it ends itself,
// and the callers here are the user's. Where the system gives fewer threads, fewer do the work.
void parallel_for(int threads, std::int64_t count, const RangeBody& body) {
  if (threads < 1) throw InvalidArgument("threads", "at least one thread", std::to_string(threads));
  if (count <= 0) return;
  // What somebody has limited oneTBB to holds for us, too. A limit above the number of cores may be for threads that
  // wait.
  const auto allowed = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  threads = static_cast<int>(
      std::min<std::int64_t>({threads, count, tbb::info::default_concurrency(), static_cast<std::int64_t>(allowed)}));
  if (threads == 1) return body(0, count);
  Ranges ranges(count, threads);
  std::vector<std::thread> helpers;
  helpers.reserve(static_cast<std::size_t>(threads - 1));
  try {
    while (std::ssize(helpers) < threads - 1) helpers.emplace_back([&] { ranges.work(body); });
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // A limit of threads or of memory: those that there are do all of it.
  }
  ranges.work(body);
  for (std::thread& helper : helpers) helper.join();
  ranges.rethrow();
}

}  // namespace fastnnunet::base
