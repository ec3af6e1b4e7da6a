// The one lock of a loader, with what tasks that wait look at.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace fastnnunet {

// How often whoever waits asks its caller whether to go on waiting.
inline constexpr std::chrono::milliseconds kPollInterval{50};

// Whether what a task makes is still wanted: a sample of a batch until the loader is closed or set to another step,
// another one until its caller has enough of waiting.
struct Wanted {
  std::uint64_t generation = 0;
  const bool* stopped = nullptr;
};

struct LoaderLock {
  std::mutex mutex;
  std::condition_variable changed;  // any of what the mutex guards
  // Guarded by the mutex.
  bool closed = false;
  std::uint64_t generation = 0;  // of batches; those of earlier ones are not wanted any more

  // The mutex is held.
  bool wants(const Wanted& wanted) const {
    return !closed && (wanted.stopped != nullptr ? !*wanted.stopped : wanted.generation == generation);
  }
};

}  // namespace fastnnunet
