#include "fastnnunet/base/parallel.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet {
namespace {

// The loop's next index. The scheduler only says that a thread is free; what is worked on passes through the mutex,
// which ThreadSanitizer sees.
class Indices {
 public:
  Indices(std::int64_t count, std::mutex& mutex) : mutex_(mutex), count_(count) {
    // Hands what was written before the loop to whoever takes the first index.
    const std::lock_guard lock(mutex_);
  }

  // -1 at the end.
  std::int64_t take() {
    const std::lock_guard lock(mutex_);
    return !failure_ && next_ < count_ ? next_++ : -1;
  }

  void fail(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
  }

  void rethrow() {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::mutex& mutex_;
  std::int64_t next_ = 0;
  std::int64_t count_;
  std::exception_ptr failure_;
};

// One for all loops: a mutex on the caller's stack would itself be handed over by the scheduler alone. Loops that go on
// in the background have one of their own, which may be locked for ever in a process that is forked meanwhile.
std::mutex loops;
std::mutex background_loops;

// Calls run(loop) with what spreads the work over `threads` threads.
template <typename Run>
void spread(std::mutex& mutex, int threads, std::int64_t count,
            const std::function<void(std::int64_t, std::int64_t)>& body, const Run& run) {
  // More ranges than threads, for some take longer than others.
  const std::int64_t ranges = std::min(count, std::int64_t{4} * threads);
  Indices indices(ranges, mutex);
  const auto work = [&](int) {
    try {
      for (std::int64_t i = indices.take(); i >= 0; i = indices.take())
        body(count * i / ranges, count * (i + 1) / ranges);
    } catch (...) {
      indices.fail(std::current_exception());
    }
  };
  run([&] { tbb::parallel_for(0, threads, work, tbb::simple_partitioner()); });
  indices.rethrow();
}

}  // namespace

void parallel_for(int threads, std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (threads < 1) throw InvalidArgument("threads", "at least one thread", std::to_string(threads));
  if (count <= 0) return;
  // More than somebody has limited the scheduler to would be refused, with a warning on the terminal. While arenas live
  // it is allowed more than there are cores.
  const auto allowed = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  threads = static_cast<int>(
      std::min<std::int64_t>({threads, count, tbb::info::default_concurrency(), static_cast<std::int64_t>(allowed)}));
  if (threads == 1) return body(0, count);
  spread(loops, threads, count, body, [&](const auto& loop) {
    tbb::task_arena arena(threads);
    arena.execute(loop);
  });
}

void parallel_for_here(int threads, std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  threads = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (threads <= 1) return body(0, count);
  spread(background_loops, threads, count, body, [](const auto& loop) { tbb::this_task_arena::isolate(loop); });
}

}  // namespace fastnnunet
