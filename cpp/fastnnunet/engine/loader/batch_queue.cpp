#include "fastnnunet/engine/loader/batch_queue.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/machine.h"
#include "fastnnunet/platform/process.h"

namespace fastnnunet::engine {
namespace {

// Threads share the files that the process may open, and leave most of them to others.
std::size_t files_per_thread(int threads) {
  const std::uint64_t share = platform::open_file_limit() / 4 / static_cast<std::uint64_t>(std::max(threads, 1));
  return std::clamp<std::size_t>(share, storage::OpenVolumes::kOfOneSample, 64);
}

}  // namespace

BatchQueue::Job::Job(BatchQueue& queue, std::int64_t batch_size) {
  for (std::int64_t slot = 0; slot < batch_size; ++slot)
    tasks.emplace_back(queue, *this, static_cast<std::uint32_t>(slot));
}

void BatchQueue::Job::drop() {
  memory.reset();
  error = nullptr;
  state = State::unused;
}

BatchQueue::BatchQueue(const LoaderOptions& options, SampleMaker& maker, BadCases& bad, LoaderLock& lock)
    : options_(options),
      maker_(maker),
      lock_(lock),
      bad_(bad),
      process_(platform::process_id()),
      arena_(Arena::shared(options.threads, files_per_thread(std::max(options.threads, options.most_threads)),
                           options.most_threads)),
      growth_(options.threads) {}

void BatchQueue::open(Layout layout, std::shared_ptr<BatchRing> ring, const MemoryPlan& plan) {
  layout_ = std::move(layout);
  ring_ = std::move(ring);
  most_ahead_ = plan.prefetch;
  const base::MutexLock lock(lock_.mutex);
  ahead_ = plan.ahead;
  growth_ = ThreadGrowth(plan.most_threads);
}

Batch BatchQueue::next(const std::function<void()>& poll) {
  require_own_process();
  const auto begin = Clock::now();
  base::MutexLock lock(lock_.mutex);
  if (!first_request_) first_request_ = begin;
  bool had_to_wait = false;
  for (;;) {
    require_open();
    const std::exception_ptr missing = schedule();
    if (lock_.closed) continue;  // meanwhile
    Job* const found = ready_job(step_);
    if (found != nullptr && !redo_excluded(*found)) {
      std::exception_ptr error;
      Batch batch = hand_out(*found, error);
      // For the first one everybody waits, and as long as no thread was idle more batches ahead would not have helped.
      if (had_to_wait && idled_ && batches_ > 0) {
        ahead_ = std::min(ahead_ + 1, most_ahead_);
        idled_ = false;
      }
      // Before the consumer leaves, so that its place is filled while it computes. What is missing for that is no
      // reason to keep this batch, or its error, from it: the next call tries again.
      schedule();
      const auto waited = Clock::now() - begin;
      waited_ += waited;
      waits_.add(waited);
      if (error) std::rethrow_exception(error);
      if (batches_++ == 0) first_batch_ = Clock::now() - *first_request_;
      grow();
      return batch;
    }
    if (count(Job::State::being_made) + count(Job::State::ready) == 0 && !acquiring_) {
      if (missing) std::rethrow_exception(missing);
      throw BudgetError("memory budget of " + megabytes(options_.memory_budget),
                        "room for one more batch of " + megabytes(ring_->batch_bytes()),
                        std::to_string(ring_->in_use()) + " batches that are still referred to by tensors");
    }
    had_to_wait = true;
    lock_.changed.wait_for(lock, kPollInterval);
    if (poll) {
      lock.unlock();
      poll();
      lock.lock();
    }
  }
}

Batch BatchQueue::hand_out(Job& job, std::exception_ptr& error) {
  Batch batch{std::move(job.memory), job.step};
  error = std::exchange(job.error, nullptr);
  if (std::exception_ptr many = bad_.too_many_skipped(job.step)) error = std::move(many);
  job.state = Job::State::unused;
  ++step_;
  return batch;
}

void BatchQueue::grow() {
  if (lock_.closed || !growth_.may_grow(arena_->threads())) return;
  const Progress now{batches_, in_seconds(Clock::now() - *first_request_), in_seconds(waited_),
                     sample_times_.summary().total};
  const int wanted = growth_.after_batch(now, arena_->threads());
  if (wanted <= arena_->threads()) return;
  const std::shared_ptr<Arena> arena = arena_;
  lock_.mutex.unlock();  // threads take a while to start
  arena->grow(wanted);
  lock_.mutex.lock();
  if (arena->threads() < wanted) growth_.settle(arena->threads());
}

std::uint64_t BatchQueue::step() const {
  require_own_process();
  const base::MutexLock lock(lock_.mutex);
  return step_;
}

void BatchQueue::set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll) {
  require_own_process();
  // Made before anything changes, for want of memory leaves the loader where it is.
  BadCases::Numbered bad = BadCases::numbered(options_, excluded);
  base::MutexLock lock(lock_.mutex);
  require_open();
  ++lock_.generation;
  // Where poll() has enough of waiting, what was made ahead is dropped all the same, and the loader goes on where it
  // was.
  for (Job& job : jobs_)
    if (job.state == Job::State::ready) job.drop();
  submitted_ = step_;
  lock_.changed.notify_all();  // wake threads that wait for files
  while (running_ > 0) {
    lock_.changed.wait_for(lock, kPollInterval);
    if (running_ == 0 || !poll) continue;
    lock.unlock();
    poll();
    lock.lock();
  }
  drop_jobs();
  step_ = submitted_ = step;
  idled_ = false;
  bad_.swap(bad);
}

std::vector<BadCase> BatchQueue::bad_cases() const {
  require_own_process();
  const base::MutexLock lock(lock_.mutex);
  return bad_.list();
}

bool BatchQueue::close(std::chrono::milliseconds patience) {
  if (platform::process_id() != process_) return false;  // after a fork there is nothing to wait for
  base::MutexLock lock(lock_.mutex);
  lock_.closed = true;
  ++lock_.generation;
  lock_.changed.notify_all();
  const auto deadline = Clock::now() + patience;
  while (running_ > 0 && lock_.changed.wait_until(lock, deadline)) continue;
  overdue_ = running_ > 0;
  if (overdue_) return false;
  drop_jobs();
  if (ring_) ring_->close();
  const std::shared_ptr<Arena> arena = std::move(arena_);
  lock.unlock();  // the last loader's arena ends its threads here
  return true;
}

std::chrono::milliseconds BatchQueue::patience() const {
  if (platform::process_id() != process_) return std::chrono::milliseconds(0);
  const base::MutexLock lock(lock_.mutex);
  return overdue_ ? std::chrono::seconds(1) : std::chrono::seconds(10);
}

struct BatchQueue::OneTask final : Arena::Task {
  OneTask(BatchQueue& of, const Work& what) : queue(of), body(what) {}
  void run(Arena::ThreadState& thread) noexcept override {
    try {
      body(thread, {0, &stopped});
    } catch (...) {
      error = std::current_exception();
    }
    thread.workspace.activity().end();
    const base::MutexLock inner(queue.lock_.mutex);
    --queue.running_;
    done = true;
    queue.lock_.changed.notify_all();
  }
  BatchQueue& queue;
  const Work& body;
  std::exception_ptr error;
  bool done = false;
  bool stopped = false;  // the caller has enough of waiting
};

void BatchQueue::run_in_a_thread(const std::function<void()>& poll, const Work& work) {
  require_own_process();
  OneTask task(*this, work);
  base::MutexLock lock(lock_.mutex);
  require_open();
  ++running_;
  arena_->enqueue(task);
  // The task works on the caller's memory, so this waits for its end even where poll() has enough of it.
  std::exception_ptr stopped;
  while (!task.done) {
    lock_.changed.wait_for(lock, kPollInterval);
    if (task.done || !poll || stopped) continue;
    lock.unlock();
    try {
      poll();
    } catch (...) {
      stopped = std::current_exception();
    }
    lock.lock();
    if (stopped) {
      task.stopped = true;
      lock_.changed.notify_all();
    }
  }
  if (stopped) std::rethrow_exception(stopped);
  if (task.error) std::rethrow_exception(task.error);
}

void BatchQueue::begin_sample(Arena::ThreadState& thread, std::uint64_t step, std::uint32_t slot) const {
  thread.workspace.activity().begin(this, step, slot);
}

std::exception_ptr BatchQueue::schedule() noexcept {
  try {
    while (!acquiring_ && !lock_.closed &&
           static_cast<int>(count(Job::State::being_made) + count(Job::State::ready)) < ahead_) {
      std::shared_ptr<BatchMemory> memory;
      std::exception_ptr missing;
      acquiring_ = true;
      lock_.mutex.unlock();
      try {
        memory = ring_->acquire();
      } catch (...) {
        missing = std::current_exception();
      }
      lock_.mutex.lock();
      acquiring_ = false;
      if (memory || missing) lock_.changed.notify_all();
      if (missing) return missing;
      if (!memory) break;
      if (lock_.closed) {  // giving it back may take long, too
        lock_.mutex.unlock();
        memory.reset();
        lock_.mutex.lock();
        break;
      }
      Job& job = unused_job();
      job.step = submitted_++;
      job.generation = lock_.generation;
      job.memory = std::move(memory);
      job.error_slot = -1;
      for (SlotTask& task : job.tasks) task.asked = true;
      start(job);
    }
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

// Those slots of the job that are asked for. Returns how many.
int BatchQueue::start(Job& job) {
  int started = 0;
  for (SlotTask& task : job.tasks) {
    if (!task.asked) continue;
    ++started;
    arena_->enqueue(task);  // it waits for the lock before it counts itself as done
  }
  if (started == 0) return 0;
  job.state = Job::State::being_made;
  job.remaining = started;
  running_ += started;
  return started;
}

std::size_t BatchQueue::count(Job::State state) const {
  return static_cast<std::size_t>(
      std::count_if(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.state == state; }));
}

BatchQueue::Job* BatchQueue::ready_job(std::uint64_t step) {
  for (Job& job : jobs_)
    if (job.state == Job::State::ready && job.step == step) return &job;
  return nullptr;
}

BatchQueue::Job& BatchQueue::unused_job() {
  for (Job& job : jobs_)
    if (job.state == Job::State::unused) return job;
  return jobs_.emplace_back(*this, options_.sampling.batch_size);
}

// When none of their tasks runs any more.
void BatchQueue::drop_jobs() {
  for (Job& job : jobs_) job.drop();
}

// A case may be found bad by a batch that comes before batches that took it already: these samples are made again, so
// that what comes after a step does not depend on how far ahead the threads were.
bool BatchQueue::redo_excluded(Job& job) {
  if (bad_.empty() || job.error) return false;
  for (SlotTask& task : job.tasks) task.asked = bad_.is_excluded(job.memory->cases[task.slot], job.step);
  return start(job) > 0;
}

void BatchQueue::work(Arena::ThreadState& thread, Job& job, std::uint32_t slot) noexcept {
  std::exception_ptr error;
  std::size_t case_number = 0;
  bool wanted;
  {
    const base::MutexLock lock(lock_.mutex);
    wanted = job.generation == lock_.generation;
  }
  const Stopwatch watch;
  const std::uint64_t read_before = thread.files.bytes_read();
  if (wanted) {
    error = fill_slot(thread, job, slot, case_number);
    sample_times_.add(watch.read());
  }
  thread.workspace.activity().end();
  const base::MutexLock lock(lock_.mutex);
  if (--running_ < arena_->threads()) idled_ = true;
  bytes_read_ += thread.files.bytes_read() - read_before;
  if (wanted) {
    ++samples_;
    job.memory->cases[slot] = case_number;
    if (error && (job.error_slot < 0 || slot < job.error_slot)) {
      job.error = std::move(error);  // the consumer's alone from here on
      job.error_slot = slot;
    }
  }
  if (--job.remaining == 0) {
    if (job.generation == lock_.generation)
      job.state = Job::State::ready;
    else
      job.drop();
  }
  lock_.changed.notify_all();
}

// What went wrong, if anything.
std::exception_ptr BatchQueue::fill_slot(Arena::ThreadState& thread, Job& job, std::uint32_t slot,
                                         std::size_t& case_number) noexcept {
  try {
    auto scratch = maker_.take_scratch();
    {
      // A consumer that lets go of the batch must find its memory free, so it is not referred to for longer.
      struct Refers {
        ~Refers() {
          sample.let_go();
          destination.owner.reset();
        }
        sample::Sample& sample;
        sample::Destination& destination;
      } refers{thread.sample, scratch->destination};
      job.memory->locate(layout_, slot, refers.destination);
      refers.destination.owner = job.memory;
      begin_sample(thread, job.step, slot);
      case_number = maker_.make(thread, *scratch, refers.sample, options_.sample_id(job.step, slot),
                                &refers.destination, {job.generation, nullptr});
    }
    maker_.give_scratch(std::move(scratch));
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

void BatchQueue::require_own_process() const {
  if (platform::process_id() != process_)
    throw ClosedError("loader", "the process that made it",
                      "another one: threads do not survive a fork; make the loader after it");
}

void BatchQueue::require_open() const {
  if (lock_.closed) throw ClosedError("loader", "an open loader", "one that was closed");
}

}  // namespace fastnnunet::engine
