#include "fastnnunet/engine/arena.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet {
namespace {

std::mutex& registry_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::map<int, std::weak_ptr<Arena>>& registry() {
  static std::map<int, std::weak_ptr<Arena>> arenas;
  return arenas;
}

}  // namespace

// Workers beyond the number of cores are allowed for as long as an arena asks for them.
struct Arena::Scheduler {
  explicit Scheduler(int threads)
      : allowed(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads) + 1),
        arena(threads, 0) {}

  tbb::task_scheduler_handle handle{tbb::attach{}};
  tbb::global_control allowed;
  tbb::task_arena arena;
  // What is to be done, beside the scheduler: it only says when a thread is free.
  std::mutex mutex;
  std::condition_variable idle;
  std::deque<std::function<void(ThreadState&)>> tasks;
  std::condition_variable state_free;
  std::vector<ThreadState*> free_states;
  std::size_t unfinished = 0;
};

std::shared_ptr<Arena> Arena::shared(int threads, std::size_t open_files) {
  if (threads < 1) throw InvalidArgument("loader", "at least one thread", std::to_string(threads));
  const std::lock_guard lock(registry_mutex());
  std::weak_ptr<Arena>& known = registry()[threads];
  if (auto arena = known.lock()) return arena;
  std::shared_ptr<Arena> arena(new Arena(threads, open_files));
  known = arena;
  return arena;
}

Arena::Arena(int threads, std::size_t open_files) : threads_(threads) {
  scheduler_ = std::make_unique<Scheduler>(threads);
  for (int i = 0; i < threads; ++i) {
    states_.push_back(std::make_unique<ThreadState>(open_files));
    scheduler_->free_states.push_back(states_.back().get());
  }
}

Arena::~Arena() {
  {
    // A task counts as done for its loader a little before its thread has left it.
    std::unique_lock lock(scheduler_->mutex);
    scheduler_->idle.wait(lock, [&] { return scheduler_->unfinished == 0; });
  }
  scheduler_->arena.terminate();
  tbb::task_scheduler_handle handle = std::move(scheduler_->handle);
  scheduler_.reset();
  // Ends the threads, unless another user of the scheduler in this process still needs them.
  tbb::finalize(handle, std::nothrow);
}

void Arena::enqueue(std::function<void(ThreadState&)> task) {
  {
    const std::lock_guard lock(scheduler_->mutex);
    scheduler_->tasks.push_back(std::move(task));
    ++scheduler_->unfinished;
  }
  scheduler_->arena.enqueue([this] { run_next(); });
}

void Arena::run_next() {
  std::function<void(ThreadState&)> task;
  ThreadState* state = nullptr;
  {
    std::unique_lock lock(scheduler_->mutex);
    // Every arena of oneTBB's has two places at least, so there may be a worker more than was asked for: it waits.
    scheduler_->state_free.wait(lock, [&] { return !scheduler_->free_states.empty(); });
    task = std::move(scheduler_->tasks.front());
    scheduler_->tasks.pop_front();
    // The one that was used last: its memory is the warmest.
    state = scheduler_->free_states.back();
    scheduler_->free_states.pop_back();
  }
  task(*state);
  task = nullptr;
  state->workspace_bytes = state->workspace.bytes();
  state->open_files_now = state->files.size();
  state->open_file_bytes = state->files.memory();
  // The lock also makes what was written here visible to the thread that has this state next.
  const std::lock_guard lock(scheduler_->mutex);
  scheduler_->free_states.push_back(state);
  scheduler_->state_free.notify_one();
  if (--scheduler_->unfinished == 0) scheduler_->idle.notify_all();
}

std::size_t Arena::workspace_bytes() const {
  std::size_t total = 0;
  for (const auto& state : states_) total += state->workspace_bytes;
  return total;
}

std::size_t Arena::open_files() const {
  std::size_t total = 0;
  for (const auto& state : states_) total += state->open_files_now;
  return total;
}

std::size_t Arena::open_file_bytes() const {
  std::size_t total = 0;
  for (const auto& state : states_) total += state->open_file_bytes;
  return total;
}

}  // namespace fastnnunet
