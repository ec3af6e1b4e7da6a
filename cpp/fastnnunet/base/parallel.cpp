#include "fastnnunet/base/parallel.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>

#include <algorithm>
#include <exception>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/indices.h"
#include "fastnnunet/base/mutex.h"

namespace fastnnunet {

// Threads of its own, and not oneTBB's: a thread that has called oneTBB keeps its workers alive until it ends itself,
// and the callers here are the user's. Where the system gives fewer threads, fewer do the work.
void parallel_for(int threads, std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (threads < 1) throw InvalidArgument("threads", "at least one thread", std::to_string(threads));
  if (count <= 0) return;
  // What somebody has limited oneTBB to holds for us, too. While arenas live it is allowed more than there are cores.
  const auto allowed = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  threads = static_cast<int>(
      std::min<std::int64_t>({threads, count, tbb::info::default_concurrency(), static_cast<std::int64_t>(allowed)}));
  if (threads == 1) return body(0, count);
  Mutex mutex;
  Indices ranges(count, threads, mutex);
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

}  // namespace fastnnunet
