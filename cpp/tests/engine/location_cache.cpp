#include "fastnnunet/engine/location_cache.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "catch.h"

namespace fastnnunet::engine {
namespace {

const Index3 kShape{20, 20, 20};

ClassLocations thousand(std::size_t number, const Index3& shape) {
  ClassLocations locations(shape);
  const std::vector<std::int64_t> voxels(3000, static_cast<std::int64_t>(number % 20));
  locations.add({1}, false, false, voxels, 3);
  return locations;
}

TEST_CASE("location cache: a case is read once", "[engine]") {
  LocationCache cache(thousand, 1 << 20);
  const auto first = cache.get(3, kShape);
  CHECK(cache.get(3, kShape) == first);
  CHECK(cache.get(4, kShape) != first);
  CHECK(cache.reads() == 2);
  CHECK(cache.memory() == first->memory() + cache.get(4, kShape)->memory());
  CHECK(first->voxel(first->classes()[0], 7) == Index3{3, 3, 3});
}

TEST_CASE("location cache: threads that ask at once wait for one reader", "[engine]") {
  std::atomic<int> reading{0}, most{0};
  LocationCache cache(
      [&](std::size_t number, const Index3& shape) {
        most = std::max(most.load(), ++reading);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        --reading;
        return thousand(number, shape);
      },
      1 << 20);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { cache.get(1, kShape); });
  for (auto& thread : threads) thread.join();
  CHECK(cache.reads() == 1);
  CHECK(most == 1);
}

TEST_CASE("location cache: the least recently used is forgotten first", "[engine]") {
  const std::size_t one = thousand(0, kShape).memory();
  LocationCache cache(thousand, 2 * one + one / 2);
  const auto held = cache.get(0, kShape);
  cache.get(1, kShape);
  cache.get(0, kShape);
  cache.get(2, kShape);  // 1 goes
  CHECK(cache.memory() <= 2 * one + one / 2);
  CHECK(cache.reads() == 3);
  cache.get(0, kShape);
  CHECK(cache.reads() == 3);
  cache.get(1, kShape);
  CHECK(cache.reads() == 4);
  // Whoever uses them keeps them.
  CHECK(held->classes()[0].count == 1000);
}

TEST_CASE("location cache: with no room it keeps the last case only", "[engine]") {
  LocationCache cache(thousand, 0);
  for (std::size_t i = 0; i < 5; ++i) cache.get(i, kShape);
  CHECK(cache.memory() == thousand(0, kShape).memory());
}

TEST_CASE("location cache: what the reader throws reaches everyone who asked, and is tried again", "[engine]") {
  std::atomic<int> calls{0};
  LocationCache cache(
      [&](std::size_t number, const Index3& shape) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        if (++calls <= 3) throw std::runtime_error("damaged");
        return thousand(number, shape);
      },
      1 << 20);
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      try {
        cache.get(1, kShape);
      } catch (const std::runtime_error&) {
        ++failed;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(failed == 3);
  CHECK(cache.get(1, kShape)->classes().size() == 1);
  CHECK(cache.reads() == 1);
}

TEST_CASE("location cache: cases that take just the budget are all kept", "[engine]") {
  LocationCache cache(thousand, 2 * thousand(0, kShape).memory());
  for (const std::size_t number : {0, 1, 0, 1}) cache.get(number, kShape);
  CHECK(cache.reads() == 2);
}

}  // namespace
}  // namespace fastnnunet::engine
