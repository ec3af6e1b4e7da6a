#include "fastnnunet/engine/arena.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/platform.h"

namespace fastnnunet {
namespace {

std::mutex& registry_mutex() {
  static std::mutex mutex;
  return mutex;
}

// Arenas whose threads are there, and the process that has these threads. Under the mutex.
struct Living {
  std::size_t arenas = 0;
  std::uint64_t process = 0;
};

Living& living() {
  static Living living;
  return living;
}

std::map<int, std::weak_ptr<Arena>>& registry() {
  static std::map<int, std::weak_ptr<Arena>> arenas;
  return arenas;
}

}  // namespace

// Workers beyond the number of cores are allowed for as long as an arena asks for them.
struct Arena::Scheduler {
  struct Workers {
    explicit Workers(int threads)
        : allowed(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads) + 1),
          arena(threads, 0) {}
    tbb::task_scheduler_handle handle{tbb::attach{}};
    tbb::global_control allowed;
    tbb::task_arena arena;
  };

  // oneTBB's threads end when every thread that has called it lets go of it, which each has to do itself. Loaders are
  // used and closed by any thread, so one of ours does all the calls: it hands out turns, and ends the threads.
  std::thread keeper;
  std::condition_variable called;
  std::size_t turns = 0;  // that are to be handed out
  bool stop = false;

  // What is to be done, beside the scheduler: it only says when a thread is free.
  std::mutex mutex;
  std::condition_variable idle;
  Task* first = nullptr;
  Task* last = nullptr;
  std::condition_variable state_free;
  std::vector<ThreadState*> free_states;
};

std::shared_ptr<Arena> Arena::shared(int threads, std::size_t open_files) {
  if (threads < 1) throw InvalidArgument("loader", "at least one thread", std::to_string(threads));
  const std::lock_guard lock(registry_mutex());
  // The scheduler would wait for the threads that it had before.
  if (living().arenas > 0 && living().process != process_id())
    throw ClosedError("loader",
                      "a process that was forked before the first loader was made, or after the last was closed",
                      "one that was forked from a process with open loaders");
  std::weak_ptr<Arena>& known = registry()[threads];
  if (auto arena = known.lock()) return arena;
  std::shared_ptr<Arena> arena(new Arena(threads, open_files));
  known = arena;
  living().process = process_id();
  ++living().arenas;
  return arena;
}

Arena::Arena(int threads, std::size_t open_files) : threads_(threads) {
  scheduler_ = std::make_unique<Scheduler>();
  for (int i = 0; i < threads; ++i) {
    states_.push_back(std::make_unique<ThreadState>(open_files, *this));
    scheduler_->free_states.push_back(states_.back().get());
  }
  scheduler_->keeper = std::thread([this] { keep(); });
}

Arena::~Arena() {
  {
    const std::lock_guard lock(scheduler_->mutex);
    scheduler_->stop = true;
    scheduler_->called.notify_one();
  }
  scheduler_->keeper.join();
}

void Arena::keep() {
  auto workers = std::make_unique<Scheduler::Workers>(threads_);
  std::unique_lock lock(scheduler_->mutex);
  for (;;) {
    scheduler_->called.wait(lock, [&] { return scheduler_->stop || scheduler_->turns > 0; });
    if (scheduler_->turns == 0) break;
    --scheduler_->turns;
    lock.unlock();
    workers->arena.enqueue([this] { run_next(); });
    lock.lock();
  }
  // A task counts as done for its loader a little before its thread has left it.
  scheduler_->idle.wait(lock, [&] { return unfinished_.load(std::memory_order_relaxed) == 0; });
  lock.unlock();
  workers->arena.terminate();
  tbb::task_scheduler_handle handle = std::move(workers->handle);
  workers.reset();
  // Ends the threads, unless another user of the scheduler in this process still needs them.
  if (tbb::finalize(handle, std::nothrow)) {
    const std::lock_guard registry_lock(registry_mutex());
    --living().arenas;
  }
}

void Arena::enqueue(Task& task) {
  task.next_ = nullptr;
  {
    const std::lock_guard lock(scheduler_->mutex);
    (scheduler_->first == nullptr ? scheduler_->first : scheduler_->last->next_) = &task;
    scheduler_->last = &task;
    unfinished_.fetch_add(1, std::memory_order_relaxed);
    ++scheduler_->turns;
  }
  scheduler_->called.notify_one();
}

void Arena::run_next() {
  Task* task = nullptr;
  ThreadState* state = nullptr;
  {
    std::unique_lock lock(scheduler_->mutex);
    // Every arena of oneTBB's has two places at least, so there may be a worker more than was asked for: it waits.
    scheduler_->state_free.wait(lock, [&] { return !scheduler_->free_states.empty(); });
    task = std::exchange(scheduler_->first, scheduler_->first->next_);
    // The one that was used last: its memory is the warmest.
    state = scheduler_->free_states.back();
    scheduler_->free_states.pop_back();
  }
  task->run(*state);
  state->workspace_bytes = state->workspace.bytes();
  state->open_files_now = state->files.size();
  state->open_file_bytes = state->files.memory();
  // The lock also makes what was written here visible to the thread that has this state next.
  const std::lock_guard lock(scheduler_->mutex);
  scheduler_->free_states.push_back(state);
  scheduler_->state_free.notify_one();
  if (unfinished_.fetch_sub(1, std::memory_order_release) == 1) scheduler_->idle.notify_all();
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
