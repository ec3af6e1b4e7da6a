// oneTBB's scheduler is one for the whole process: what an arena takes of it, nobody else lacks.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <memory>
#include <vector>

#include "catch.h"
#include "engine/tasks.h"
#include "fastnnunet/base/parallel.h"

namespace fastnnunet {
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
  parallel_for(count, count, [&](std::int64_t, std::int64_t) {
    ++ranges;
    all.tick();
    if (!all.wait(Busy::kPatience)) together = false;
  });
  CHECK(ranges == count);  // where the loop takes fewer threads it also has fewer ranges
  return together;
}

TEST_CASE("scheduler: arenas of different sizes have all their threads at once", "[engine]") {
  for (const auto& sizes : {std::vector<int>{1, 8}, {8, 1}, {1, 2, 3}, {5, 2, 1}}) {
    CAPTURE(sizes);
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
  parallel_for(cores, 100, [&](std::int64_t, std::int64_t) { ++ranges; });
  CHECK(ranges == 1);
}

TEST_CASE("scheduler: what was asked of it is given back", "[engine]") {
  const auto allowed = [] { return tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism); };
  const std::size_t before = allowed();
  for (int i = 0; i < 3; ++i) {
    const auto one = Arena::shared(2, 8);
    auto other = Arena::shared(7, 8);
    CHECK(allowed() >= before + 9);
    other.reset();
    CHECK(allowed() >= before + 2);
  }
  CHECK(allowed() == before);
}

}  // namespace
}  // namespace fastnnunet
