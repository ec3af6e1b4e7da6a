#include "fastnnunet/engine/arena.h"

#include <oneapi/tbb/info.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "catch.h"
#include "engine/tasks.h"
#include "fastnnunet/base/error.h"

#ifdef __linux__
#include <pthread.h>
#endif

namespace fastnnunet::engine {
namespace {

using namespace testing;

// The threads that are in a loop, in the order in which they came.
class Visitors {
 public:
  // True the first time that the calling thread is here.
  bool enter() {
    const std::lock_guard lock(mutex_);
    return ids_.insert(std::this_thread::get_id()).second;
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return ids_.size();
  }

 private:
  std::mutex mutex_;
  std::set<std::thread::id> ids_;
};

// Whether a loop of an arena without other tasks has all threads for which there are cores at once.
bool helped(const std::shared_ptr<Arena>& arena) {
  const int count = std::min(arena->threads(), std::max(tbb::info::default_concurrency(), 2));
  Tasks tasks(arena);
  Countdown all(count), done(1);
  Visitors visitors;
  tasks.enqueue([&](Arena::ThreadState& state) {
    while (state.workspace.idle() < arena->threads() - 1) std::this_thread::yield();
    state.workspace.share(1000, [&](std::int64_t, std::int64_t) {
      if (visitors.enter()) all.tick();
      all.wait(std::chrono::seconds(5));
    });
    done.tick();
  });
  REQUIRE(done.wait(std::chrono::seconds(120)));
  return std::cmp_greater_equal(visitors.count(), count);  // those that just begin may come, too
}

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
    // Every task waits for all others: fewer threads would never end.
    Countdown all(threads), done(threads);
    std::mutex mutex;
    std::set<Arena::ThreadState*> states;
    std::set<std::thread::id> ids;
    Tasks tasks(arena);
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

TEST_CASE("arena: it grows while its threads work, as far as it has room", "[engine]") {
  const auto arena = Arena::shared(2, 8, 5);
  CHECK(Arena::shared(2, 8, 5) == arena);
  CHECK(Arena::shared(2, 8) != arena);
  Countdown two(2), four(4), five(5), done(5);
  Tasks tasks(arena);
  for (int i = 0; i < 5; ++i)
    tasks.enqueue([&](Arena::ThreadState&) {
      two.tick();
      four.tick();
      five.tick();
      five.wait();
      done.tick();
    });
  REQUIRE(two.wait());
  CHECK(arena->idle() == 0);
  arena->grow(4);
  CHECK(arena->threads() == 4);
  REQUIRE(four.wait());
  arena->grow(3);
  CHECK(arena->threads() == 4);
  arena->grow(100);
  CHECK(arena->threads() == 5);
  REQUIRE(done.wait());
  CHECK(helped(arena));
}

TEST_CASE("arena: several grow it at once", "[engine]") {
  for (int repetition = 0; repetition < 20; ++repetition) {
    const auto arena = Arena::shared(1, 8, 6);
    std::vector<std::thread> growers;
    for (int wanted = 2; wanted <= 6; ++wanted) growers.emplace_back([&, wanted] { arena->grow(wanted); });
    for (std::thread& grower : growers) grower.join();
    REQUIRE(arena->threads() == 6);
    Countdown all(6);
    Tasks tasks(arena);
    for (int i = 0; i < 6; ++i)
      tasks.enqueue([&](Arena::ThreadState&) {
        all.tick();
        all.wait();
      });
    REQUIRE(all.wait());
  }
}

TEST_CASE("arena: a thread's memory is one task's at a time", "[engine]") {
  const auto arena = Arena::shared(4, 8);
  constexpr int kTasks = 400;
  Countdown done(kTasks);
  std::atomic<int> wrong{0};
  Tasks tasks(arena);
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
  Countdown done(100);
  std::vector<int> order;
  Tasks tasks(arena);
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
  Countdown helped(2), done(1);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  Tasks tasks(arena);
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

TEST_CASE("arena: a thread that has ended its task helps with a loop that others are in", "[engine]") {
  const auto arena = Arena::shared(3, 8);
  Countdown both(2), in_loop(1), all(3), done(2);
  Visitors visitors;
  Tasks tasks(arena);
  tasks.enqueue([&](Arena::ThreadState&) {
    both.tick();
    in_loop.wait();
    done.tick();
  });
  tasks.enqueue([&](Arena::ThreadState& state) {
    both.tick();
    both.wait();
    state.workspace.share(1000, [&](std::int64_t, std::int64_t) {
      in_loop.tick();
      if (visitors.enter()) all.tick();
      all.wait();
    });
    done.tick();
  });
  REQUIRE(done.wait());
  CHECK(visitors.count() == 3);
}

TEST_CASE("arena: a thread that helps takes a task after the range that it is at", "[engine]") {
  const auto arena = Arena::shared(2, 8);
  for (int repetition = 0; repetition < 20; ++repetition) {
    Countdown begun(1), done(2);
    std::atomic<int> ranges_before{0};
    std::atomic<bool> has_begun{false};
    Tasks tasks(arena);
    tasks.enqueue([&](Arena::ThreadState& state) {
      const auto here = std::this_thread::get_id();
      while (state.workspace.idle() < 1) std::this_thread::yield();
      state.workspace.share(1000, [&](std::int64_t, std::int64_t) {
        if (std::this_thread::get_id() == here) {
          begun.wait();  // so that ranges are left
          return;
        }
        if (has_begun) return;
        if (++ranges_before > 1) return;
        tasks.enqueue([&](Arena::ThreadState&) {
          has_begun = true;
          begun.tick();
          done.tick();
        });
      });
      done.tick();
    });
    REQUIRE(done.wait());
    CHECK(ranges_before == 1);
  }
}

TEST_CASE("arena: loops of several tasks at once, and tasks between them", "[engine]") {
  const auto arena = Arena::shared(4, 8);
  constexpr int kTasks = 300;
  Countdown done(kTasks);
  std::atomic<int> wrong{0};
  Tasks tasks(arena);
  for (int i = 0; i < kTasks; ++i) {
    tasks.enqueue([&, i](Arena::ThreadState& state) {
      for (int loop = 0; loop < 5; ++loop) {
        std::vector<int> seen(static_cast<std::size_t>(10 + i % 50), 0);
        state.workspace.share(std::ssize(seen), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t k = begin; k < end; ++k) ++seen[static_cast<std::size_t>(k)];
          // A loop inside a loop, on whichever thread.
          state.workspace.share(3, [&](std::int64_t first, std::int64_t last) {
            if (first >= last) ++wrong;
          });
        });
        for (const int times : seen) wrong += times != 1;
      }
      done.tick();
    });
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 200));
  }
  REQUIRE(done.wait());
  CHECK(wrong == 0);
}

TEST_CASE("arena: where every thread has a task, each does its own loops", "[engine]") {
  for (const int threads : {1, 3}) {
    const auto arena = Arena::shared(threads, 8);
    Countdown all(threads), done(threads);
    std::atomic<int> elsewhere{0};
    Tasks tasks(arena);
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
  Countdown done(1);
  bool caught = false;
  Tasks tasks(arena);
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

TEST_CASE("arena: threads that have nothing to do take no time", "[engine]") {
  const auto arena = Arena::shared(3, 8);
  CHECK(helped(arena));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.1);
}

#ifdef __linux__
int threads_of_process() {
  int count = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) count += thread.exists();
  return count;
}

TEST_CASE("arena: it has the threads that were asked for, and none is left when nobody uses it", "[engine]") {
  // A thread that has been joined may be listed for a moment.
  const auto settled = [](int count) {
    for (int i = 0; i < 1000 && threads_of_process() != count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return threads_of_process() == count;
  };
  {
    Arena::shared(1, 8);
  }
  const int before = threads_of_process();
  for (int i = 0; i < 5; ++i) {
    const auto one = Arena::shared(1, 8);
    auto other = Arena::shared(5, 8);
    CHECK(helped(other));
    CHECK(settled(before + 6));
    other.reset();
    CHECK(settled(before + 1));
  }
  CHECK(settled(before));
}

TEST_CASE("arena: threads help whatever stack the system gives to threads", "[engine]") {
  pthread_attr_t given, small;
  REQUIRE(pthread_getattr_default_np(&given) == 0);
  REQUIRE(pthread_getattr_default_np(&small) == 0);
  REQUIRE(pthread_attr_setstacksize(&small, std::size_t{1} << 20) == 0);
  REQUIRE(pthread_setattr_default_np(&small) == 0);
  const bool help = helped(Arena::shared(2, 8));
  REQUIRE(pthread_setattr_default_np(&given) == 0);
  pthread_attr_destroy(&small);
  pthread_attr_destroy(&given);
  CHECK(help);
}
#endif

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
    std::atomic<int> count{0};
    Tasks tasks(arena);
    for (int k = 0; k < 10; ++k) tasks.enqueue([&](Arena::ThreadState&) { ++count; });
    arena.reset();
    REQUIRE(count == 10);
  }
}

}  // namespace
}  // namespace fastnnunet::engine
