// Batches in their order, made ahead of their consumer by the threads of an arena.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "fastnnunet/base/durations.h"
#include "fastnnunet/engine/arena.h"
#include "fastnnunet/engine/batch_ring.h"
#include "fastnnunet/engine/loader/bad_cases.h"
#include "fastnnunet/engine/loader/lock.h"
#include "fastnnunet/engine/loader/memory_plan.h"
#include "fastnnunet/engine/loader/options.h"
#include "fastnnunet/engine/loader/reports.h"
#include "fastnnunet/engine/loader/sample_maker.h"

namespace fastnnunet {

struct Batch {
  std::shared_ptr<BatchMemory> memory;
  std::uint64_t step = 0;
  const std::vector<std::size_t>& cases() const { return memory->cases; }  // one for each sample
};

class BatchQueue {
 public:
  // These must outlive it. `bad` is guarded by `lock`.
  BatchQueue(const LoaderOptions& options, SampleMaker& maker, BadCases& bad, LoaderLock& lock);

  // Where batches come from; before the first next().
  void open(Layout layout, std::shared_ptr<BatchRing> ring, const MemoryPlan& plan);
  const Layout& layout() const { return layout_; }

  // See Loader for these.
  Batch next(const std::function<void()>& poll);
  std::uint64_t step() const;
  void set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll);
  std::vector<BadCase> bad_cases() const;
  bool close(std::chrono::milliseconds patience);
  // How long a destructor should still wait.
  std::chrono::milliseconds patience() const;

  // `work` on one of the threads, and back when it is done. What it throws is thrown here. `poll` is called now and
  // then while that goes on, and what it throws ends it: nothing is wanted of `work` any more.
  using Work = std::function<void(Arena::ThreadState&, const Wanted&)>;
  void run_in_a_thread(const std::function<void()>& poll, const Work& work);
  // A sample is about to be made on this thread, for reports.
  void begin_sample(Arena::ThreadState& thread, std::uint64_t step, std::uint32_t slot) const;

  // What the queue knows of these.
  void report(LoaderStatistics& statistics) const;
  LoaderActivity activity() const;

  // Throws ClosedError in a process that a fork has made: it has no threads.
  void require_own_process() const;

 private:
  struct Job;
  // One sample of a batch.
  struct SlotTask final : Arena::Task {
    SlotTask(BatchQueue& of, Job& its_job, std::uint32_t number) : queue(of), job(its_job), slot(number) {}
    void run(Arena::ThreadState& thread) noexcept override { queue.work(thread, job, slot); }
    BatchQueue& queue;
    Job& job;
    std::uint32_t slot;
  };

  // One batch on its way. Slots are filled by tasks; whoever fills the last one makes it ready. Used again and again.
  struct Job {
    enum class State : std::uint8_t { unused, being_made, ready };

    Job(BatchQueue& queue, std::int64_t batch_size);
    void drop();

    State state = State::unused;
    std::uint64_t step = 0;
    std::uint64_t generation = 0;
    std::shared_ptr<BatchMemory> memory;
    int remaining = 0;
    std::exception_ptr error;  // of the lowest slot that failed
    std::int64_t error_slot = -1;
    std::deque<SlotTask> tasks;  // one for each slot
  };

  // One piece of work that its caller waits for.
  struct OneTask;

  // Starts as many batches as may be made ahead. Returns what was thrown where memory is missing: those that were
  // started are on their way all the same. The lock is held, but not while memory is asked for, which may take long
  // where it is pinned: every thread that ends a sample would wait. One consumer at a time asks.
  std::exception_ptr schedule(std::unique_lock<std::mutex>& lock) noexcept;
  // A task: one sample into its place in the batch.
  void work(Arena::ThreadState& thread, Job& job, std::uint32_t slot) noexcept;
  std::exception_ptr fill_slot(Arena::ThreadState& thread, Job& job, std::uint32_t slot,
                               std::size_t& case_number) noexcept;

  // The lock is held by those who ask for these.
  Batch hand_out(Job& job, std::exception_ptr& error);
  template <typename Select>
  int start(Job& job, const Select& selected);
  std::size_t count(Job::State state) const;
  Job* ready_job(std::uint64_t step);
  Job& unused_job();
  void drop_jobs();
  bool redo_excluded(Job& job);
  void require_open() const;

  const LoaderOptions& options_;
  SampleMaker& maker_;
  BadCases& bad_;
  LoaderLock& lock_;
  std::uint64_t process_;
  std::shared_ptr<Arena> arena_;
  Layout layout_;
  std::shared_ptr<BatchRing> ring_;
  int most_ahead_ = 1;

  // Guarded by the lock.
  std::deque<Job> jobs_;         // as many as there ever were at a time; they stay where they are
  std::uint64_t step_ = 0;       // of the next batch to hand out
  std::uint64_t submitted_ = 0;  // of the next batch to start
  int ahead_ = 1;                // batches made ahead
  bool idled_ = false;           // a thread had nothing to do since `ahead_` was last raised
  int running_ = 0;              // tasks in the arena
  bool acquiring_ = false;       // a consumer asks for a batch's memory, without the lock
  bool overdue_ = false;         // a task did not end when the loader was closed
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> first_request_;
  Clock::duration first_batch_{};
  Clock::duration waited_{};
  std::uint64_t batches_ = 0;
  std::uint64_t samples_ = 0;
  std::uint64_t bytes_read_ = 0;
  Durations waits_;
  Durations sample_times_;
};

}  // namespace fastnnunet
