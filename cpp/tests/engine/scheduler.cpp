// oneTBB's scheduler is one for the whole process: an arena takes nothing of it that somebody else lacks, and what
// others allow it is not the arena's concern.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "catch.h"
#include "engine/tasks.h"
#include "fastnnunet/base/parallel.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

// Has every thread of an arena at work until it goes out of scope, which is what a loader in the middle of a batch
// does.
class Busy {
 public:
  explicit Busy(const std::shared_ptr<Arena>& arena) : begun_(arena->threads()), tasks_(arena) {
    for (int i = 0; i < arena->threads(); ++i)
      tasks_.enqueue([this](Arena::ThreadState&) {
        begun_.tick();
        end_.wait();
      });
  }
  ~Busy() { end_.tick(); }
  bool all() { return begun_.wait(kPatience); }

  static constexpr std::chrono::seconds kPatience{10};

 private:
  Countdown end_{1};
  Countdown begun_;
  Tasks tasks_;  // the last, for it waits for its tasks
};

// Whether `count` threads are in a loop of somebody else's at once.
bool others_get(int count) {
  Countdown all(count);
  std::atomic<bool> together{true};
  tbb::task_arena arena(count);
  arena.execute([&] {
    tbb::parallel_for(
        0, count,
        [&](int) {
          all.tick();
          if (!all.wait(Busy::kPatience)) together = false;
        },
        tbb::simple_partitioner());
  });
  return together;
}

// Whether a loop of ours has `count` threads at once.
bool loop_gets(int count) {
  Countdown all(count);
  std::atomic<bool> together{true};
  std::atomic<int> ranges{0};
  base::parallel_for(count, count, [&](std::int64_t, std::int64_t) {
    ++ranges;
    all.tick();
    if (!all.wait(Busy::kPatience)) together = false;
  });
  CHECK(ranges == count);  // where the loop takes fewer threads it also has fewer ranges
  return together;
}

// Whether all threads of the arena for which there are cores are in one of its loops at once. Nobody else uses the
// arena.
bool loop_is_shared(const std::shared_ptr<Arena>& arena) {
  const int count = std::min(arena->threads(), std::max(tbb::info::default_concurrency(), 2));
  Countdown all(count), done(1);
  std::atomic<bool> together{true};
  std::mutex mutex;
  std::set<std::thread::id> seen;
  Tasks tasks(arena);
  tasks.enqueue([&](Arena::ThreadState& state) {
    while (state.workspace.idle() < arena->threads() - 1) std::this_thread::yield();
    state.workspace.share(std::int64_t{100} * count, [&](std::int64_t, std::int64_t) {
      {
        const std::lock_guard lock(mutex);
        if (!seen.insert(std::this_thread::get_id()).second) return;
      }
      all.tick();
      if (!all.wait(Busy::kPatience)) together = false;
    });
    done.tick();
  });
  return done.wait() && together;
}

std::size_t allowed() { return tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism); }

// Limits of somebody else's; 0 for none.
constexpr std::size_t kLimits[] = {0, 1, 3};

std::optional<tbb::global_control> limited(std::size_t limit) {
  if (limit == 0) return std::nullopt;
  return std::make_optional<tbb::global_control>(tbb::global_control::max_allowed_parallelism, limit);
}

TEST_CASE("scheduler: arenas of different sizes have all their threads at once, whatever others allow", "[engine]") {
  for (const std::size_t limit : kLimits)
    for (const auto& sizes : {std::vector<int>{1, 8}, {8, 1}, {1, 2, 3}, {5, 2, 1}}) {
      CAPTURE(limit, sizes);
      const auto control = limited(limit);
      std::vector<std::shared_ptr<Arena>> arenas;
      for (const int threads : sizes) arenas.push_back(Arena::shared(threads, 8));
      std::vector<std::unique_ptr<Busy>> busy;
      for (const auto& arena : arenas) {
        busy.push_back(std::make_unique<Busy>(arena));
        CHECK(busy.back()->all());
      }
      // What one that is gone had is not taken from those that stay.
      busy.erase(busy.begin());
      arenas.erase(arenas.begin());
      Busy more(arenas.back());
      busy.clear();
      CHECK(more.all());
    }
}

TEST_CASE("scheduler: loops are shared whatever others allow", "[engine]") {
  for (const std::size_t limit : kLimits)
    for (const int threads : {2, 5}) {
      CAPTURE(limit, threads);
      const auto control = limited(limit);
      CHECK(loop_is_shared(Arena::shared(threads, 8)));
    }
}

TEST_CASE("scheduler: other users of oneTBB have their threads while arenas are at work", "[engine]") {
  const int cores = tbb::info::default_concurrency();
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    const auto arena = Arena::shared(threads, 8);
    Busy busy(arena);
    REQUIRE(busy.all());
    CHECK(others_get(cores));
    CHECK(loop_gets(cores));
  }
}

TEST_CASE("scheduler: a limit that somebody has raised stays raised, and one that is lowered is kept to", "[engine]") {
  const int cores = tbb::info::default_concurrency();
  {
    const tbb::global_control raised(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(cores) + 3);
    const auto arena = Arena::shared(1, 8);
    CHECK(others_get(cores + 3));
  }
  const auto arena = Arena::shared(2, 8);
  Busy busy(arena);
  REQUIRE(busy.all());
  const tbb::global_control lowered(tbb::global_control::max_allowed_parallelism, 1);
  std::atomic<int> ranges{0};
  base::parallel_for(cores, 100, [&](std::int64_t, std::int64_t) { ++ranges; });
  CHECK(ranges == 1);
}

TEST_CASE("scheduler: arenas never change what is allowed", "[engine]") {
  for (const std::size_t limit : kLimits) {
    CAPTURE(limit);
    const auto control = limited(limit);
    const std::size_t before = allowed();
    for (int i = 0; i < 3; ++i) {
      const auto one = Arena::shared(2, 8);
      CHECK(allowed() == before);
      auto other = Arena::shared(7, 8);
      CHECK(allowed() == before);
      {
        Busy busy(other);
        CHECK(busy.all());
        CHECK(allowed() == before);
      }
      other.reset();
      CHECK(allowed() == before);
    }
    CHECK(allowed() == before);
  }
}

}  // namespace
}  // namespace fastnnunet::engine
