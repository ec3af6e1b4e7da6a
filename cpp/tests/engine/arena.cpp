#include "fastnnunet/engine/arena.h"

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "catch.h"
#include "engine/tasks.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet {
namespace {

using namespace testing;

TEST_CASE("arena: one for each number of threads, as long as somebody uses it", "[engine]") {
  const auto first = Arena::shared(2, 8);
  CHECK(Arena::shared(2, 8) == first);
  CHECK(Arena::shared(3, 8) != first);
  CHECK(first->threads() == 2);
  CHECK_THROWS_AS(Arena::shared(0, 8), InvalidArgument);
}

TEST_CASE("arena: as many tasks at once as there are threads, also beyond the cores", "[engine]") {
  for (const int threads : {1, 2, 9}) {
    CAPTURE(threads);
    const auto arena = Arena::shared(threads, 8);
    Tasks tasks(arena);
    // Every task waits for all others: fewer threads would never end.
    Countdown all(threads), done(threads);
    std::mutex mutex;
    std::set<Arena::ThreadState*> states;
    std::set<std::thread::id> ids;
    for (int i = 0; i < threads; ++i)
      tasks.enqueue([&](Arena::ThreadState& state) {
        {
          const std::lock_guard lock(mutex);
          states.insert(&state);
          ids.insert(std::this_thread::get_id());
        }
        all.tick();
        all.wait();
        done.tick();
      });
    REQUIRE(done.wait());
    const std::lock_guard lock(mutex);
    CHECK(std::ssize(states) == threads);
    CHECK(std::ssize(ids) == threads);
    CHECK_FALSE(ids.contains(std::this_thread::get_id()));
  }
}

TEST_CASE("arena: a thread's memory is one task's at a time", "[engine]") {
  const auto arena = Arena::shared(4, 8);
  Tasks tasks(arena);
  constexpr int kTasks = 400;
  Countdown done(kTasks);
  std::atomic<int> wrong{0};
  for (int i = 0; i < kTasks; ++i)
    tasks.enqueue([&, i](Arena::ThreadState& state) {
      int* memory = state.workspace.scratch<int>(0, 64);
      for (int k = 0; k < 64; ++k) memory[k] = i;
      std::this_thread::yield();
      for (int k = 0; k < 64; ++k) wrong += memory[k] != i;
      done.tick();
    });
  REQUIRE(done.wait());
  CHECK(wrong == 0);
}

TEST_CASE("arena: one thread takes tasks in their order", "[engine]") {
  const auto arena = Arena::shared(1, 8);
  Tasks tasks(arena);
  Countdown done(100);
  std::vector<int> order;
  for (int i = 0; i < 100; ++i)
    tasks.enqueue([&, i](Arena::ThreadState&) {
      order.push_back(i);
      done.tick();
    });
  REQUIRE(done.wait());
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("arena: threads without a task help with the loops of those that have one", "[engine]") {
  const auto arena = Arena::shared(3, 8);
  Tasks tasks(arena);
  Countdown helped(2), done(1);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  tasks.enqueue([&](Arena::ThreadState& state) {
    state.workspace.share(12, [&](std::int64_t, std::int64_t) {
      bool first = false;
      {
        const std::lock_guard lock(mutex);
        first = ids.insert(std::this_thread::get_id()).second;
      }
      // Whoever comes first waits for somebody else.
      if (first) helped.tick();
      helped.wait();
    });
    done.tick();
  });
  REQUIRE(done.wait());
  const std::lock_guard lock(mutex);
  CHECK(ids.size() >= 2);
}

TEST_CASE("arena: where every thread has a task, each does its own loops", "[engine]") {
  for (const int threads : {1, 3}) {
    const auto arena = Arena::shared(threads, 8);
    Tasks tasks(arena);
    Countdown all(threads), done(threads);
    std::atomic<int> elsewhere{0};
    for (int i = 0; i < threads; ++i)
      tasks.enqueue([&](Arena::ThreadState& state) {
        all.tick();
        all.wait();
        const auto here = std::this_thread::get_id();
        for (int k = 0; k < 100; ++k)
          state.workspace.share(8,
                                [&](std::int64_t, std::int64_t) { elsewhere += std::this_thread::get_id() != here; });
        done.tick();
        done.wait();  // a thread that is through would help
      });
    REQUIRE(done.wait());
    CHECK(elsewhere == 0);
  }
}

TEST_CASE("arena: what is thrown on a helping thread reaches the one that has the task", "[engine]") {
  const auto arena = Arena::shared(3, 8);
  Tasks tasks(arena);
  Countdown done(1);
  bool caught = false;
  tasks.enqueue([&](Arena::ThreadState& state) {
    try {
      state.workspace.share(100, [](std::int64_t, std::int64_t end) {
        if (end == 100) throw InvalidArgument("loop", "an end", "none");
      });
    } catch (const InvalidArgument&) {
      caught = true;
    }
    done.tick();
  });
  REQUIRE(done.wait());
  CHECK(caught);
}

TEST_CASE("arena: what threads hold can be looked at", "[engine]") {
  const auto arena = Arena::shared(2, 8);
  Tasks tasks(arena);
  tasks.enqueue([&](Arena::ThreadState& state) { state.workspace.scratch<char>(0, 100000); });
  while (arena->workspace_bytes() < 100000) std::this_thread::yield();
  CHECK(arena->workspace_bytes() < 200000);
  CHECK(arena->open_files() == 0);
}

TEST_CASE("arena: it ends only when its tasks have", "[engine]") {
  for (int i = 0; i < 50; ++i) {
    auto arena = Arena::shared(3, 8);
    Tasks tasks(arena);
    std::atomic<int> count{0};
    for (int k = 0; k < 10; ++k) tasks.enqueue([&](Arena::ThreadState&) { ++count; });
    arena.reset();
    REQUIRE(count == 10);
  }
}

}  // namespace
}  // namespace fastnnunet
