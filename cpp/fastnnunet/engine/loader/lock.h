// The one lock of a loader, with what tasks that wait look at.
#pragma once

#include <chrono>
#include <cstdint>

#include "fastnnunet/base/mutex.h"

namespace fastnnunet::engine {

// How often whoever waits asks its caller whether to go on waiting.
inline constexpr std::chrono::milliseconds kPollInterval{50};

// Whether what a task makes is still wanted: a sample of a batch until the loader is closed or set to another step,
// another one until its caller has enough of waiting.
struct Wanted {
  std::uint64_t generation = 0;
  const bool* stopped = nullptr;  // guarded by the loader's lock
};

struct LoaderLock {
  base::Mutex mutex;
  base::Condition changed;  // any of what the mutex guards
  bool closed FASTNNUNET_GUARDED_BY(mutex) = false;
  // Of batches; those of earlier ones are not wanted any more.
  std::uint64_t generation FASTNNUNET_GUARDED_BY(mutex) = 0;

  bool wants(const Wanted& wanted) const FASTNNUNET_REQUIRES(mutex) {
    return !closed && (wanted.stopped != nullptr ? !*wanted.stopped : wanted.generation == generation);
  }
};

}  // namespace fastnnunet::engine
