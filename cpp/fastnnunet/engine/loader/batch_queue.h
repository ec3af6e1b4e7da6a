// Batches in their order, made ahead of their consumer by the threads of an arena.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "fastnnunet/base/durations.h"
#include "fastnnunet/engine/arena.h"
#include "fastnnunet/engine/batch.h"
#include "fastnnunet/engine/batch_ring.h"
#include "fastnnunet/engine/loader/bad_cases.h"
#include "fastnnunet/engine/loader/lock.h"
#include "fastnnunet/engine/loader/memory_plan.h"
#include "fastnnunet/engine/loader/options.h"
#include "fastnnunet/engine/loader/reports.h"
#include "fastnnunet/engine/loader/sample_maker.h"
#include "fastnnunet/engine/loader/thread_growth.h"

namespace fastnnunet::engine {

class BatchQueue {
 public:
  // These must outlive it.
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
    bool asked = true;  // whether start() starts it
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
  // started are on their way all the same. The lock is released while memory is asked for, which may take long where
  // it is pinned: every thread that ends a sample would wait. One consumer at a time asks.
  std::exception_ptr schedule() noexcept FASTNNUNET_REQUIRES(lock_.mutex);
  // A task: one sample into its place in the batch.
  void work(Arena::ThreadState& thread, Job& job, std::uint32_t slot) noexcept;
  std::exception_ptr fill_slot(Arena::ThreadState& thread, Job& job, std::uint32_t slot,
                               std::size_t& case_number) noexcept;

  Batch hand_out(Job& job, std::exception_ptr& error) FASTNNUNET_REQUIRES(lock_.mutex);
  // More threads, where the consumer waits for those that there are.
  void grow() FASTNNUNET_REQUIRES(lock_.mutex);
  int start(Job& job) FASTNNUNET_REQUIRES(lock_.mutex);
  std::size_t count(Job::State state) const FASTNNUNET_REQUIRES(lock_.mutex);
  Job* ready_job(std::uint64_t step) FASTNNUNET_REQUIRES(lock_.mutex);
  Job& unused_job() FASTNNUNET_REQUIRES(lock_.mutex);
  void drop_jobs() FASTNNUNET_REQUIRES(lock_.mutex);
  bool redo_excluded(Job& job) FASTNNUNET_REQUIRES(lock_.mutex);
  void require_open() const FASTNNUNET_REQUIRES(lock_.mutex);

  const LoaderOptions& options_;
  SampleMaker& maker_;
  LoaderLock& lock_;
  BadCases& bad_ FASTNNUNET_GUARDED_BY(lock_.mutex);
  std::uint64_t process_;
  std::shared_ptr<Arena> arena_ FASTNNUNET_GUARDED_BY(lock_.mutex);
  Layout layout_;
  std::shared_ptr<BatchRing> ring_;
  int most_ahead_ = 1;
  ThreadGrowth growth_ FASTNNUNET_GUARDED_BY(lock_.mutex);

  // As many as there ever were at a time; they stay where they are.
  std::deque<Job> jobs_ FASTNNUNET_GUARDED_BY(lock_.mutex);
  std::uint64_t step_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 0;       // of the next batch to hand out
  std::uint64_t submitted_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 0;  // of the next batch to start
  int ahead_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 1;                // batches made ahead
  // A thread had nothing to do since `ahead_` was last raised.
  bool idled_ FASTNNUNET_GUARDED_BY(lock_.mutex) = false;
  int running_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 0;  // tasks in the arena
  // A consumer asks for a batch's memory, without the lock.
  bool acquiring_ FASTNNUNET_GUARDED_BY(lock_.mutex) = false;
  bool overdue_ FASTNNUNET_GUARDED_BY(lock_.mutex) = false;  // a task did not end when the loader was closed
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> first_request_ FASTNNUNET_GUARDED_BY(lock_.mutex);
  Clock::duration first_batch_ FASTNNUNET_GUARDED_BY(lock_.mutex){};
  Clock::duration waited_ FASTNNUNET_GUARDED_BY(lock_.mutex){};
  std::uint64_t batches_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 0;
  std::uint64_t samples_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 0;
  std::uint64_t bytes_read_ FASTNNUNET_GUARDED_BY(lock_.mutex) = 0;
  Durations waits_;
  Durations sample_times_;
};

}  // namespace fastnnunet::engine
