#include "fastnnunet/engine/arena.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <chrono>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/engine/arena_scheduler.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/platform/process.h"
#include "fastnnunet/platform/thread.h"

// See Note [One arena for all loaders] and Note [Threads of our own in oneTBB's arena].
namespace fastnnunet::engine {
namespace {

constexpr std::int64_t kRangesPerThread = 4;  // of a loop, for some take longer than others
// How long a thread that has helped looks out for the next loop of the same sample before it sleeps.
constexpr std::chrono::microseconds kAlert{50};
// Address space that is kept for every thread until all are there: the C library ends the process where it has no
// memory for a thread's own variables.
constexpr std::size_t kRoom = std::size_t{4} << 20;

// What the arenas of one process have in common. A forked child has one of its own, for a thread that does not exist
// there may hold the parent's lock. None is ever freed: threads may outlive static objects.
struct Registry {
  explicit Registry(std::uint64_t of) : process(of) {}
  const std::uint64_t process;
  base::Mutex mutex;
  std::map<std::pair<int, int>, std::weak_ptr<Arena>> arenas FASTNNUNET_GUARDED_BY(mutex);  // by threads and most
  std::atomic<int> living{0};  // arenas that may have threads; also read by a forked child
};

Registry& registry() {
  static std::atomic<Registry*> current{nullptr};
  Registry* known = current.load();
  for (;;) {
    if (known != nullptr && known->process == platform::process_id()) return *known;
    // A thread that does not exist here may hold a lock of oneTBB's.
    if (known != nullptr && known->living > 0)
      throw ClosedError("loader",
                        "a process that was forked before the first loader was made, or after the last was closed",
                        "one that was forked from a process with open loaders");
    auto made = std::make_unique<Registry>(platform::process_id());
    if (current.compare_exchange_strong(known, made.get())) return *made.release();
  }
}

ThreadError no_threads(int wanted, const std::string& reason) {
  return {"threads", std::to_string(wanted) + " threads for a loader",
          reason + ": the process is at a limit of threads or memory"};
}

}  // namespace

// Of a loop that several threads work on, as long as there are ranges that nobody has begun.
class Arena::SharedLoop {
 public:
  SharedLoop(Scheduler& scheduler, std::int64_t count, int helpers) : scheduler_(scheduler), count_(count) {
    const base::MutexLock lock(scheduler_.mutex);
    ++scheduler_.loops;
    scheduler_.wanted += helpers;
    scheduler_.invite(std::max(scheduler_.alert, 1));
  }
  ~SharedLoop() { end(); }
  SharedLoop(const SharedLoop&) = delete;
  SharedLoop& operator=(const SharedLoop&) = delete;

  void run(std::int64_t begin, std::int64_t end_of_range, const base::RangeBody& body) {
    const std::int64_t size = end_of_range - begin;
    if (begun_.fetch_add(size, std::memory_order_relaxed) + size == count_) end();
    body(begin, end_of_range);
    if (scheduler_.recalls.load(std::memory_order_relaxed) > 0) scheduler_.answer_recall();
  }

 private:
  // Helpers that find no range would only spin.
  void end() {
    if (ended_.exchange(true, std::memory_order_relaxed)) return;
    const base::MutexLock lock(scheduler_.mutex);
    if (--scheduler_.loops > 0) return;
    while (!scheduler_.helpers.empty()) scheduler_.let_go(*scheduler_.helpers.back());
    scheduler_.recalls = 0;
    scheduler_.wanted = 0;
  }

  Scheduler& scheduler_;
  const std::int64_t count_;
  std::atomic<std::int64_t> begun_{0};  // indices
  std::atomic<bool> ended_{false};
};

int Arena::Scheduler::call(int most) {
  const int count = std::min(most, waiting);
  waiting -= count;
  calls += count;
  for (int asleep = std::min(count, calls - alert); asleep > 0; --asleep) called.notify_one();
  return count;
}

void Arena::Scheduler::wait_for_call(base::MutexLock& lock, bool stay_alert) {
  ++waiting;
  if (stay_alert) {
    ++alert;
    mutex.unlock();
    const auto end = std::chrono::steady_clock::now() + kAlert;
    while (calls.load(std::memory_order_relaxed) == 0 && std::chrono::steady_clock::now() < end) continue;
    mutex.lock();
    --alert;
  }
  while (calls == 0) called.wait(lock);
  --calls;
}

void Arena::Scheduler::invite(int most) { wanted -= call(std::min(most, wanted)); }

void Arena::Scheduler::run_next(Arena& of) {
  Task& task = *std::exchange(first, first->next_);
  // The one that was used last: its memory is the warmest.
  ThreadState& state = *free_states.back();
  free_states.pop_back();
  mutex.unlock();
  task.run(state);
  state.workspace_bytes = state.workspace.bytes();
  state.open_files_now = state.files.size();
  state.open_file_bytes = state.files.memory();
  mutex.lock();
  free_states.push_back(&state);
  of.unfinished_.fetch_sub(1, std::memory_order_release);
}

bool Arena::Scheduler::help(Helper& helper) {
  if (!helper.group) return false;
  try {
    helper.door = helper.group->defer([] {});
  } catch (...) {
    // The group already counts the task for which there was no memory, and would wait for it.
    (void)helper.group.release();
    return false;
  }
  helpers.push_back(&helper);
  invite(2);
  mutex.unlock();
  helper.group->wait();
  mutex.lock();
  return true;
}

void Arena::Scheduler::let_go(Helper& helper) {
  helpers.erase(std::find(helpers.begin(), helpers.end(), &helper));
  helper.door = {};
}

void Arena::Scheduler::answer_recall() {
  const base::MutexLock lock(mutex);
  if (recalls == 0) return;
  --recalls;
  let_go(this_helper->door ? *this_helper : *helpers.back());
}

std::shared_ptr<Arena> Arena::shared(int threads, std::size_t open_files, int most) {
  if (threads < 1) throw InvalidArgument("loader", "at least one thread", std::to_string(threads));
  Registry& here = registry();
  const base::MutexLock lock(here.mutex);
  most = std::max(most, threads);
  std::weak_ptr<Arena>& known = here.arenas[{threads, most}];
  if (auto arena = known.lock()) return arena;
  std::shared_ptr<Arena> arena(new Arena(most, open_files, here.living));
  arena->start(threads);
  known = arena;
  return arena;
}

Arena::Arena(int most, std::size_t open_files, std::atomic<int>& living)
    : most_(most), living_(living), scheduler_(std::make_unique<Scheduler>(most)) {
  for (int i = 0; i < most; ++i) states_.push_back(std::make_unique<ThreadState>(open_files, *this));
  {
    const base::MutexLock lock(scheduler_->mutex);
    for (const auto& state : states_) scheduler_->free_states.push_back(state.get());
  }
  ++living_;
}

Arena::~Arena() {
  {
    const base::MutexLock lock(scheduler_->mutex);
    scheduler_->stop = true;
    scheduler_->call(most_);
  }
  for (platform::Thread& thread : scheduler_->threads) thread.join();
  scheduler_.reset();
  --living_;
}

void Arena::start(int threads) {
  const base::MutexLock growing(scheduler_->growing);
  const std::exception_ptr failure = add(threads);
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    throw no_threads(threads, "no memory");
  } catch (const std::exception& error) {
    throw no_threads(threads, error.what());
  }
}

void Arena::grow(int threads) noexcept {
  const base::MutexLock growing(scheduler_->growing);
  const auto there = static_cast<int>(scheduler_->threads.size());
  if (const int wanted = std::min(threads, most_); wanted > there) (void)add(wanted - there);
}

std::exception_ptr Arena::add(int count) noexcept {
  Scheduler& scheduler = *scheduler_;
  std::vector<platform::Thread>& threads = scheduler.threads;
  const auto before = static_cast<int>(threads.size());
  try {
    platform::Buffer room;
    room.reserve<char>(kRoom * static_cast<std::size_t>(count));
    // A thread whose stack is smaller than oneTBB's own have takes up no ranges of others.
    const std::size_t stack = tbb::global_control::active_value(tbb::global_control::thread_stack_size);
    for (int number = before; number < before + count; ++number)
      threads.emplace_back(stack, [this, number] { enter(number); });
  } catch (...) {
    dismiss(before);
    return std::current_exception();
  }
  base::MutexLock lock(scheduler.mutex);
  scheduler.may_enter = before + count;
  scheduler.start.notify_all();
  while (scheduler.entered + scheduler.failed < scheduler.may_enter) scheduler.start.wait(lock);
  threads_ = scheduler.entered;
  return scheduler.failure;
}

// Threads that have not been told to enter, from this one on.
void Arena::dismiss(int first) noexcept {
  Scheduler& scheduler = *scheduler_;
  {
    const base::MutexLock lock(scheduler.mutex);
    scheduler.dismissed = true;
    scheduler.start.notify_all();
  }
  for (; std::ssize(scheduler.threads) > first; scheduler.threads.pop_back()) scheduler.threads.back().join();
  const base::MutexLock lock(scheduler.mutex);
  scheduler.dismissed = false;
}

// One thread, from its beginning to its end.
void Arena::enter(int number) noexcept {
  {
    base::MutexLock lock(scheduler_->mutex);
    while (number >= scheduler_->may_enter && !scheduler_->dismissed) scheduler_->start.wait(lock);
    if (number >= scheduler_->may_enter) return;
  }
  // Has the thread's variables made, also those of whoever throws, while there is room.
  Scheduler::this_helper = nullptr;
  (void)std::uncaught_exceptions();
  try {
    scheduler_->arena.execute([this] {
      Helper helper;
      note_entered(nullptr);
      work(helper);
    });
  } catch (...) {
    note_entered(std::current_exception());
  }
}

void Arena::note_entered(const std::exception_ptr& failure) {
  const base::MutexLock lock(scheduler_->mutex);
  ++(failure ? scheduler_->failed : scheduler_->entered);
  if (failure) scheduler_->failure = failure;
  scheduler_->start.notify_all();
}

void Arena::work(Helper& helper) noexcept {
  Scheduler& scheduler = *scheduler_;
  Scheduler::this_helper = &helper;
  base::MutexLock lock(scheduler.mutex);
  for (bool helped = false;;) {
    if (scheduler.first != nullptr) {
      scheduler.run_next(*this);
      helped = false;
    } else if (scheduler.stop) {
      return;
    } else if (scheduler.loops > 0 && scheduler.help(helper)) {
      helped = true;
    } else {
      scheduler.wait_for_call(lock, std::exchange(helped, false));
    }
  }
}

void Arena::enqueue(Task& task) {
  Scheduler& scheduler = *scheduler_;
  task.next_ = nullptr;
  const base::MutexLock lock(scheduler.mutex);
  (scheduler.first == nullptr ? scheduler.first : scheduler.last->next_) = &task;
  scheduler.last = &task;
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  // The caller may be any thread, and does not call oneTBB: helpers let each other go.
  if (scheduler.call(1) == 0 && scheduler.recalls < std::ssize(scheduler.helpers)) ++scheduler.recalls;
}

void Arena::share(std::int64_t count, const base::RangeBody& body) const {
  // More threads than cores would take turns within the loop.
  static const int cores = std::max(tbb::info::default_concurrency(), 2);
  const std::int64_t threads = std::min<std::int64_t>({idle() + 1, cores, count});
  if (threads <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  const std::int64_t ranges = kRangesPerThread * threads;
  SharedLoop loop(*scheduler_, count, static_cast<int>(threads - 1));
  tbb::this_task_arena::isolate([&] {
    // Each range is a task of its own: after any of them a helper can leave.
    tbb::parallel_for(
        tbb::blocked_range<std::int64_t>(0, count, static_cast<std::size_t>((count + ranges - 1) / ranges)),
        [&](const auto& range) { loop.run(range.begin(), range.end(), body); }, tbb::simple_partitioner());
  });
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

}  // namespace fastnnunet::engine
