// What the queue tells of itself and its threads.
#include <chrono>
#include <string>
#include <utility>

#include "fastnnunet/engine/loader/batch_queue.h"
#include "fastnnunet/platform/process.h"

namespace fastnnunet::engine {
void BatchQueue::report(LoaderStatistics& s) const {
  const base::MutexLock lock(lock_.mutex);
  s.batches = batches_;
  s.samples = samples_;
  s.waited_seconds = in_seconds(waited_);
  s.first_batch_seconds = in_seconds(first_batch_);
  if (first_request_) s.running_seconds = in_seconds(Clock::now() - *first_request_);
  s.wait = waits_.summary();
  s.sample = sample_times_.summary();
  s.bytes_read = bytes_read_;
  s.ready_batches = count(Job::State::ready);
  s.batch_bytes = ring_->batch_bytes();
  s.batches_in_use = ring_->in_use();
  if (arena_) {
    s.workspace_bytes = arena_->workspace_bytes();
    s.open_files = arena_->open_files();
    s.open_file_bytes = arena_->open_file_bytes();
  }
  s.memory_budget = options_.memory_budget;
  s.threads = arena_ ? arena_->threads() : options_.threads;
  s.prefetch = ahead_;
  s.prefetch_limit = most_ahead_;
}

LoaderActivity BatchQueue::activity() const {
  LoaderActivity found;
  if (platform::process_id() != process_) return found;
  const auto now = sample::Activity::Clock::now();
  const base::MutexLock lock(lock_.mutex);
  found.step = step_;
  found.tasks = running_;
  found.ready = count(Job::State::ready);
  found.being_made = count(Job::State::being_made);
  if (ring_) found.in_use = ring_->in_use();
  if (!arena_) return found;
  arena_->look([&](const sample::Activity::Now& thread) {
    if (thread.owner != this) return;
    const bool chosen = thread.case_number < options_.cases.size();
    std::string stage(thread.stage);
    if (!thread.detail.empty()) stage.append(": ").append(thread.detail);
    found.threads.push_back({thread.thread, thread.step, thread.slot,
                             chosen ? options_.cases[thread.case_number].name : std::string(), std::move(stage),
                             in_seconds(now - thread.stage_since), in_seconds(now - thread.sample_since)});
  });
  return found;
}

}  // namespace fastnnunet::engine
