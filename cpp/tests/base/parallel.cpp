#include "fastnnunet/base/parallel.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "message.h"
#include "process_limits.h"
#include "sanitized.h"

namespace fastnnunet::base {
namespace {

TEST_CASE("parallel_for: every index once", "[base]") {
  for (const int threads : {1, 2, 7, 100})
    for (const std::int64_t count : {0, 1, 3, 1000}) {
      CAPTURE(threads, count);
      std::vector<int> seen(static_cast<std::size_t>(count), 0);
      parallel_for(threads, count, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      CHECK(seen == std::vector<int>(static_cast<std::size_t>(count), 1));
    }
}

TEST_CASE("parallel_for: an exception reaches the caller", "[base]") {
  for (const int threads : {1, 3})
    CHECK_THROWS_AS(parallel_for(threads, 50,
                                 [](std::int64_t, std::int64_t end) {
                                   if (end > 20) throw std::out_of_range("late");
                                 }),
                    std::out_of_range);
  CHECK_THROWS_AS(parallel_for(0, 50, [](std::int64_t, std::int64_t) {}), InvalidArgument);
}

// The threads that worked on a loop, each range of which takes a while.
std::set<std::thread::id> threads_of(int threads, std::int64_t count) {
  std::mutex mutex;
  std::set<std::thread::id> seen;
  parallel_for(threads, count, [&](std::int64_t, std::int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  return seen;
}

TEST_CASE("parallel_for: the caller's thread and no more than were asked for, than cores or than oneTBB may have",
          "[base]") {
  const auto cores = static_cast<std::size_t>(tbb::info::default_concurrency());
  const auto own = std::this_thread::get_id();
  CHECK(threads_of(1, 100) == std::set{own});
  const auto two = threads_of(2, 100);
  CHECK(two.size() <= std::min<std::size_t>(2, cores));
  CHECK(two.contains(own));
  CHECK(threads_of(8 * static_cast<int>(cores), 1000).size() <= cores);
  {
    // More than cores may be for threads that wait.
    const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 8 * cores);
    CHECK(threads_of(8 * static_cast<int>(cores), 1000).size() <= cores);
  }
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, 1);
  CHECK(threads_of(4, 100) == std::set{own});
}

TEST_CASE("parallel_for: after an error no more ranges begin, and it is the first error that is thrown", "[base]") {
  std::atomic<int> begun{0};
  const auto wait = [](int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); };
  CHECK_THROWS_AS(parallel_for(2, 800,
                               [&](std::int64_t, std::int64_t) {
                                 if (begun++ == 0) throw std::out_of_range("first");
                                 wait(50);
                               }),
                  std::out_of_range);
  CHECK(begun <= 4);  // of eight
  begun = 0;
  const bool two = tbb::info::default_concurrency() > 1;
  CHECK(testing::message_of([&] {
          parallel_for(2, 800, [&](std::int64_t, std::int64_t) {
            if (begun++ > 0) {
              wait(200);
              throw std::out_of_range("second");
            }
            while (two && begun < 2) std::this_thread::yield();
            throw std::out_of_range("first");
          });
        }) == "first");
  for (const int threads : {0, -1})
    CHECK_THROWS_AS(parallel_for(threads, 0, [](std::int64_t, std::int64_t) {}), InvalidArgument);
}

#if defined(__GLIBC__) && !defined(FASTNNUNET_SANITIZED)

TEST_CASE("parallel_for: where there are no more threads, the caller's does all of it", "[base]") {
  // Stacks of ended threads are used again: these take them.
  std::atomic<bool> done{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 24; ++i) others.emplace_back([&] { done.wait(false); });
  std::vector<int> seen(1000, 0);
  std::set<std::thread::id> workers;
  std::string error;
  {
    const testing::Limit little(RLIMIT_AS, testing::address_space_used() + (1 << 20));
    error = testing::message_of([&] {
      parallel_for(8, 1000, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        workers.insert(std::this_thread::get_id());
      });
    });
  }
  done = true;
  done.notify_all();
  for (std::thread& other : others) other.join();
  CHECK(error.empty());
  CHECK(seen == std::vector<int>(1000, 1));
  CHECK(workers == std::set{std::this_thread::get_id()});
}

#endif

TEST_CASE("parallel_for: in a loop of its own", "[base]") {
  std::atomic<int> seen{0};
  parallel_for(2, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      parallel_for(2, 10, [&](std::int64_t first, std::int64_t last) { seen += static_cast<int>(last - first); });
  });
  CHECK(seen == 80);
}

}  // namespace
}  // namespace fastnnunet::base
