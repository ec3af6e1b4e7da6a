// The threads of the process that work on pixels, and the memory that each of them works in. Loaders that ask for the
// same numbers of threads share them; when the last such loader is closed, the threads end.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "fastnnunet/sample/sample.h"
#include "fastnnunet/storage/cache/open_volumes.h"

namespace fastnnunet::engine {

class Arena final : public base::Crew {
 public:
  // What one thread keeps from sample to sample.
  struct ThreadState {
    ThreadState(std::size_t open_files, const base::Crew& crew) : workspace(&crew), files(open_files) {}
    sample::Workspace workspace;
    sample::Sample sample{workspace};
    storage::OpenVolumes files;
    // As they were after the thread's last task, for others to look at.
    std::atomic<std::size_t> workspace_bytes{0};
    std::atomic<std::size_t> open_files_now{0};
    std::atomic<std::size_t> open_file_bytes{0};
  };

  // Something to do. Belongs to the caller, and is not touched any more once it runs.
  class Task {
   public:
    virtual ~Task() = default;
    virtual void run(ThreadState& thread) noexcept = 0;

   private:
    friend class Arena;
    Task* next_ = nullptr;
  };

  // `open_files` is the most that one thread holds open; that of the first caller holds. `most`: as many threads as
  // grow() may make of them. Throws ThreadError where the system does not give the process so many threads: they are
  // all started here.
  static std::shared_ptr<Arena> shared(int threads, std::size_t open_files, int most = 0);
  ~Arena() override;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  // Starts threads until there are `threads`, at the most as many as the arena has room for. Where the system gives
  // fewer, there are fewer.
  void grow(int threads) noexcept;
  // Threads without a task: they help with the loops of those that have one. What finished tasks did is visible then.
  int idle() const override { return std::max(threads() - unfinished_.load(std::memory_order_acquire), 0); }
  // See Crew. The caller is one of the threads.
  void share(std::int64_t count, const base::RangeBody& body) const override;
  // Runs `task` on one of the threads; tasks start in the order of the calls. A thread that helps with a loop takes it
  // after the range that it is at.
  void enqueue(Task& task);

  // Of all threads together, as of the end of each one's last task.
  std::size_t workspace_bytes() const;
  std::size_t open_files() const;
  std::size_t open_file_bytes() const;

  // `look(now)` for every thread, see sample/activity.h.
  template <typename Look>
  void look(Look&& look) const {
    for (const auto& state : states_) state->workspace.activity().look(look);
  }

 private:
  Arena(int most, std::size_t open_files, std::atomic<int>& living);
  struct Helper;
  struct Scheduler;
  class SharedLoop;
  void start(int threads);
  // `count` threads, or none where the system does not give so many. Returns what went wrong, if anything.
  std::exception_ptr add(int count) noexcept;
  void dismiss(int first) noexcept;
  void enter(int number) noexcept;
  void note_entered(const std::exception_ptr& failure);
  void work(Helper& helper) noexcept;

  const int most_;
  std::atomic<int> threads_{0};
  std::atomic<int>& living_;                          // arenas of this process
  std::atomic<int> unfinished_{0};                    // tasks
  std::vector<std::unique_ptr<ThreadState>> states_;  // one for each thread that there may be
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace fastnnunet::engine
