#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>

#include "fastnnunet/base/indices.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/base/parallel.h"

namespace fastnnunet {
namespace {

// One for all loops: a mutex on the caller's stack would itself be handed over by oneTBB alone, inside of which
// ThreadSanitizer does not see. The scheduler only says that a thread is free; what is worked on passes through the
// mutex.
Mutex loops;

}  // namespace

void parallel_for_here(int threads, std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  threads = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (threads <= 1) return body(0, count);
  Indices ranges(count, threads, loops);
  tbb::this_task_arena::isolate(
      [&] { tbb::parallel_for(0, threads, [&](int) { ranges.work(body); }, tbb::simple_partitioner()); });
  ranges.rethrow();
}

}  // namespace fastnnunet
