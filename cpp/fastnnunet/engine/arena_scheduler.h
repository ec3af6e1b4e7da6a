// What the threads of an arena share: its queue of tasks, and who helps with loops. Only the arena's own code includes
// it.
#pragma once

#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <exception>
#include <memory>
#include <vector>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/engine/arena.h"
#include "fastnnunet/platform/thread.h"

namespace fastnnunet::engine {

// A thread's way to help with loops: it waits for its group, which is what oneTBB's threads do that take up ranges of
// others, and the group waits for a task that never runs. Whoever destroys the task lets the thread go.
struct Arena::Helper {
  std::unique_ptr<tbb::task_group> group = std::make_unique<tbb::task_group>();
  tbb::task_handle door;
};

struct Arena::Scheduler {
  // All places are for threads that enter it, so oneTBB has no thread of its own to send.
  explicit Scheduler(int places) : arena(places, static_cast<unsigned>(places)) {
    threads.reserve(static_cast<std::size_t>(places));
    helpers.reserve(static_cast<std::size_t>(places));
  }

  // Calls up to `most` threads that wait. Returns how many.
  int call(int most) FASTNNUNET_REQUIRES(mutex);
  void wait_for_call(base::MutexLock& lock, bool stay_alert) FASTNNUNET_REQUIRES(mutex);
  // Calls up to `most` of the threads that loops could use. Whoever comes calls more of them: loops that are over soon
  // wake up few.
  void invite(int most) FASTNNUNET_REQUIRES(mutex);
  // The first task in the queue, on this thread.
  void run_next(Arena& of) FASTNNUNET_REQUIRES(mutex);
  // Works on ranges of loops until there are none, or this thread is needed for a task. False where it cannot.
  bool help(Helper& helper) FASTNNUNET_REQUIRES(mutex);
  void let_go(Helper& helper) FASTNNUNET_REQUIRES(mutex);
  // Between two ranges: lets a helper go that is needed for a task, this thread if it is one.
  void answer_recall();

  static inline thread_local Helper* this_helper = nullptr;

  tbb::task_arena arena;
  base::Mutex growing;                    // of whoever adds threads
  std::vector<platform::Thread> threads;  // added under it

  base::Mutex mutex;
  base::Condition start;  // any of the next four
  // The first threads, as many as these: all that were asked for together are there.
  int may_enter FASTNNUNET_GUARDED_BY(mutex) = 0;
  int entered FASTNNUNET_GUARDED_BY(mutex) = 0;
  int failed FASTNNUNET_GUARDED_BY(mutex) = 0;          // to enter
  bool dismissed FASTNNUNET_GUARDED_BY(mutex) = false;  // those that may not enter
  std::exception_ptr failure FASTNNUNET_GUARDED_BY(mutex);
  bool stop FASTNNUNET_GUARDED_BY(mutex) = false;

  Task* first FASTNNUNET_GUARDED_BY(mutex) = nullptr;
  Task* last FASTNNUNET_GUARDED_BY(mutex) = nullptr;
  std::vector<ThreadState*> free_states FASTNNUNET_GUARDED_BY(mutex);
  // A thread has a task, waits to be called, helps, or is on its way from one to the other and looks into the queue. A
  // queued task finds one that is on its way, or all have tasks.
  base::Condition called;
  int waiting FASTNNUNET_GUARDED_BY(mutex) = 0;  // and not called yet
  int alert FASTNNUNET_GUARDED_BY(mutex) = 0;    // of these and of the called ones, those that do not sleep
  std::atomic<int> calls{0};                     // that no thread has heard yet; changed under the mutex
  std::vector<Helper*> helpers FASTNNUNET_GUARDED_BY(mutex);
  int loops FASTNNUNET_GUARDED_BY(mutex) = 0;   // with ranges that nobody has begun
  int wanted FASTNNUNET_GUARDED_BY(mutex) = 0;  // threads that these could use and nobody has called
  std::atomic<int> recalls{0};                  // helpers that are needed for tasks; changed under the mutex
};

}  // namespace fastnnunet::engine
