#include "fastnnunet/engine/arena.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <chrono>
#include <map>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/platform/process.h"

namespace fastnnunet {
namespace {

constexpr std::chrono::seconds kStartPatience{1};
constexpr int kLeastPlaces = 2;  // of any arena of oneTBB's

// Has oneTBB allow the process as many threads as all arenas ask for, beside those that it allows anyway: workers
// beyond the number of cores, and no fewer for other users of oneTBB. Of several limits in a process the lowest holds,
// so the arenas share one.
class Allowance {
 public:
  // Of an arena that begins. Throws, and then nothing has changed.
  void add(std::size_t threads) {
    const MutexLock lock(mutex_);
    // With no limit of ours there is the default, or that of somebody who has raised it.
    if (asked_ == 0)
      others_ = std::max<std::size_t>(static_cast<std::size_t>(tbb::info::default_concurrency()),
                                      tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism));
    replace(asked_ + threads);
  }
  // Of an arena that has ended.
  void remove(std::size_t threads) noexcept {
    const MutexLock lock(mutex_);
    try {
      replace(asked_ - threads);
    } catch (...) {  // the higher limit does no harm
      asked_ -= threads;
    }
  }

 private:
  void replace(std::size_t asked) FASTNNUNET_REQUIRES(mutex_) {
    std::unique_ptr<tbb::global_control> next;
    if (asked > 0)
      next = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism, others_ + asked);
    limit_ = std::move(next);  // the next one is there before the last one goes
    asked_ = asked;
  }

  Mutex mutex_;
  std::size_t asked_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  std::size_t others_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<tbb::global_control> limit_ FASTNNUNET_GUARDED_BY(mutex_);
};

// What the arenas of one process have in common. A forked child has one of its own, for a thread that does not exist
// there may hold the parent's locks. None is ever freed: threads may outlive static objects.
struct Registry {
  explicit Registry(std::uint64_t of) : process(of) {}
  const std::uint64_t process;
  Mutex mutex;
  std::map<int, std::weak_ptr<Arena>> arenas FASTNNUNET_GUARDED_BY(mutex);
  std::size_t living FASTNNUNET_GUARDED_BY(mutex) = 0;  // arenas whose keepers have not ended
  Mutex starting;
  Condition began;                       // a thread of an arena that starts
  std::atomic<bool> has_threads{false};  // oneTBB, as far as we know; also read by a forked child
  Allowance allowance;
};

Registry& registry() {
  static std::atomic<Registry*> current{nullptr};
  Registry* known = current.load();
  for (;;) {
    if (known != nullptr && known->process == process_id()) return *known;
    // oneTBB would wait for the threads that it had before.
    if (known != nullptr && known->has_threads)
      throw ClosedError("loader",
                        "a process that was forked before the first loader was made, or after the last was closed",
                        "one that was forked from a process with open loaders");
    auto made = std::make_unique<Registry>(process_id());
    if (current.compare_exchange_strong(known, made.get())) return *made.release();
  }
}

ThreadError no_threads(int wanted, const std::string& reason) {
  return {"threads", std::to_string(wanted) + " threads for a loader",
          reason + ": the process is at a limit of threads or memory"};
}

// Makes sure that the system gives the process `count` more threads, each with memory of its own: where one of oneTBB's
// cannot be started, its workers end the process. Throws ThreadError.
void require_threads(int count, int wanted) {
  Mutex mutex;
  Condition changed;
  bool end = false;
  std::atomic<bool> memory{true};
  std::vector<std::thread> threads;
  std::string reason;
  try {
    threads.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
      threads.emplace_back([&] {
        try {
          const std::vector<char> touched(std::size_t{64} << 10);
          MutexLock lock(mutex);
          while (!end) changed.wait(lock);
        } catch (...) {
          memory = false;
        }
      });
  } catch (const std::exception& error) {
    reason = error.what();
  }
  {
    const MutexLock lock(mutex);
    end = true;
    changed.notify_all();
  }
  for (std::thread& thread : threads) thread.join();
  if (reason.empty() && !memory) reason = "no memory";
  if (!reason.empty()) throw no_threads(wanted, reason);
}

}  // namespace

struct Arena::Scheduler {
  struct Workers {
    explicit Workers(int threads) : arena(threads, 0) {}
    tbb::task_scheduler_handle handle{tbb::attach{}};
    tbb::task_arena arena;
  };

  // oneTBB's threads end when every thread that has called it lets go of it, which each has to do itself. Loaders are
  // used and closed by any thread, so one of ours does all the calls: it hands out turns, and ends the threads.
  std::thread keeper;
  Mutex mutex;
  Condition called;
  std::size_t turns FASTNNUNET_GUARDED_BY(mutex) = 0;  // that are to be handed out
  bool stop FASTNNUNET_GUARDED_BY(mutex) = false;
  bool started FASTNNUNET_GUARDED_BY(mutex) = false;  // or failed to
  // oneTBB failed to start a thread or to take a turn: it may wait for that thread for ever, and is not ended. The
  // keeper's, and whoever's has waited for it.
  bool unsound = false;
  std::exception_ptr failure FASTNNUNET_GUARDED_BY(mutex);
  Condition start;

  // What is to be done, beside the scheduler: it only says when a thread is free.
  Condition idle;
  Task* first FASTNNUNET_GUARDED_BY(mutex) = nullptr;
  Task* last FASTNNUNET_GUARDED_BY(mutex) = nullptr;
  Condition state_free;
  std::vector<ThreadState*> free_states FASTNNUNET_GUARDED_BY(mutex);
};

std::shared_ptr<Arena> Arena::shared(int threads, std::size_t open_files) {
  if (threads < 1) throw InvalidArgument("loader", "at least one thread", std::to_string(threads));
  Registry& here = registry();
  const MutexLock lock(here.mutex);
  std::weak_ptr<Arena>& known = here.arenas[threads];
  if (auto arena = known.lock()) return arena;
  std::shared_ptr<Arena> arena(new Arena(threads, open_files));
  const bool had_threads = here.has_threads.exchange(true);
  ++here.living;
  try {
    arena->start();
  } catch (...) {
    if (--here.living == 0 && !arena->scheduler_->unsound) here.has_threads = had_threads;
    throw;
  }
  known = arena;
  return arena;
}

Arena::Arena(int threads, std::size_t open_files) : threads_(threads), scheduler_(std::make_unique<Scheduler>()) {
  {
    const MutexLock handed_over(registry().starting);
  }
  for (int i = 0; i < threads; ++i) {
    states_.push_back(std::make_unique<ThreadState>(open_files, *this));
    scheduler_->free_states.push_back(states_.back().get());
  }
}

Arena::~Arena() {
  if (scheduler_->keeper.joinable()) {
    {
      const MutexLock lock(scheduler_->mutex);
      scheduler_->stop = true;
      scheduler_->called.notify_one();
    }
    scheduler_->keeper.join();
  }
  // A turn that oneTBB still has may look for a task at any time.
  if (scheduler_->unsound) (void)scheduler_.release();
}

void Arena::start() {
  try {
    scheduler_->keeper = std::thread([this] { keep(); });
  } catch (const std::system_error& error) {
    throw no_threads(threads_, error.what());
  }
  std::exception_ptr failure;
  {
    MutexLock lock(scheduler_->mutex);
    while (!scheduler_->started) scheduler_->start.wait(lock);
    failure = scheduler_->failure;
  }
  if (!failure) return;
  scheduler_->keeper.join();
  std::rethrow_exception(failure);
}

// Has all of oneTBB's threads start now, when there is known to be room for them.
template <typename Workers>
void Arena::begin(Workers& workers) {
  struct Start {
    int there = 0;
    int users = 0;
  };
  // What passes through oneTBB passes through this lock, too, which ThreadSanitizer sees: memory is taken, used and
  // given back while it is held.
  Registry& here = registry();
  MutexLock lock(here.starting);
  auto* const start = new Start{0, threads_ + 1};
  const auto allowed = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  const bool all = static_cast<int>(std::min<std::size_t>(allowed, 1u << 20)) > threads_;
  const auto wait = [&here, start, all, wanted = threads_](MutexLock& held) {
    const auto deadline = Condition::Clock::now() + kStartPatience;
    while (all && start->there < wanted && here.began.wait_until(held, deadline)) continue;
    if (--start->users == 0) delete start;
  };
  lock.unlock();
  for (int i = 0; i < threads_; ++i)
    workers.arena.enqueue([&here, start, wait] {
      MutexLock held(here.starting);
      ++start->there;
      here.began.notify_all();
      wait(held);
    });
  lock.lock();
  wait(lock);
}

void Arena::keep() {
  Registry& here = registry();
  const auto places = static_cast<std::size_t>(std::max(threads_, kLeastPlaces));
  std::unique_ptr<Scheduler::Workers> workers;
  std::exception_ptr failure;
  bool allowed = false;
  try {
    require_threads(static_cast<int>(places), threads_);
    here.allowance.add(places);
    allowed = true;
    workers = std::make_unique<Scheduler::Workers>(threads_);
    scheduler_->unsound = true;
    begin(*workers);
    scheduler_->unsound = false;
  } catch (const std::bad_alloc&) {
    failure = std::current_exception();
  } catch (const ThreadError&) {
    failure = std::current_exception();
  } catch (const std::exception& error) {
    failure = std::make_exception_ptr(no_threads(threads_, error.what()));
  }
  MutexLock lock(scheduler_->mutex);
  scheduler_->failure = failure;
  scheduler_->started = true;
  scheduler_->start.notify_one();
  while (!failure) {
    while (!scheduler_->stop && scheduler_->turns == 0) scheduler_->called.wait(lock);
    if (scheduler_->turns == 0) break;
    --scheduler_->turns;
    lock.unlock();
    try {
      workers->arena.enqueue([this, &scheduler = *scheduler_] { run_next(scheduler, *this); });
    } catch (...) {
      // oneTBB has no memory or no thread for it. Where it keeps the turn all the same, that finds nothing to do.
      scheduler_->unsound = true;
      run_next(*scheduler_, *this);
    }
    lock.lock();
  }
  // A task counts as done for its loader a little before its thread has left it.
  while (unfinished_.load(std::memory_order_relaxed) > 0) scheduler_->idle.wait(lock);
  lock.unlock();
  if (scheduler_->unsound) {
    // It would wait for a thread that it could not start.
    (void)workers.release();
  } else if (workers) {
    workers->arena.terminate();
    tbb::task_scheduler_handle handle = std::move(workers->handle);
    workers.reset();
    // Ends the threads, unless another user of the scheduler in this process still needs them.
    const bool ended = tbb::finalize(handle, std::nothrow);
    if (!failure) {
      const MutexLock registry_lock(here.mutex);
      if (--here.living == 0 && ended) here.has_threads = false;
    }
  }
  if (allowed) here.allowance.remove(places);
}

void Arena::enqueue(Task& task) {
  task.next_ = nullptr;
  {
    const MutexLock lock(scheduler_->mutex);
    (scheduler_->first == nullptr ? scheduler_->first : scheduler_->last->next_) = &task;
    scheduler_->last = &task;
    unfinished_.fetch_add(1, std::memory_order_relaxed);
    ++scheduler_->turns;
  }
  scheduler_->called.notify_one();
}

void Arena::run_next(Scheduler& scheduler, Arena& arena) {
  Task* task = nullptr;
  ThreadState* state = nullptr;
  // oneTBB's threads are older than an arena that comes to them later: its memory is handed over with this lock.
  {
    const MutexLock handed_over(registry().starting);
  }
  {
    MutexLock lock(scheduler.mutex);
    // Every arena of oneTBB's has two places at least, so there may be a worker more than was asked for: it waits.
    while (scheduler.first != nullptr && scheduler.free_states.empty()) scheduler.state_free.wait(lock);
    if (scheduler.first == nullptr) return;  // and the arena may be gone
    task = std::exchange(scheduler.first, scheduler.first->next_);
    // The one that was used last: its memory is the warmest.
    state = scheduler.free_states.back();
    scheduler.free_states.pop_back();
  }
  task->run(*state);
  state->workspace_bytes = state->workspace.bytes();
  state->open_files_now = state->files.size();
  state->open_file_bytes = state->files.memory();
  // The lock also makes what was written here visible to the thread that has this state next.
  const MutexLock lock(scheduler.mutex);
  scheduler.free_states.push_back(state);
  scheduler.state_free.notify_one();
  if (arena.unfinished_.fetch_sub(1, std::memory_order_release) == 1) scheduler.idle.notify_all();
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
