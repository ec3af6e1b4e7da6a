#include "fastnnunet/base/durations.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "catch.h"

namespace fastnnunet::base {
namespace {

using std::chrono::nanoseconds;

TEST_CASE("durations: none, and one") {
  Durations durations;
  CHECK(durations.summary().count == 0);
  CHECK(durations.summary().median == 0.0);
  CHECK(durations.summary().p99 == 0.0);
  durations.add(nanoseconds(1'000'000));
  const auto summary = durations.summary();
  CHECK(summary.count == 1);
  CHECK(summary.total == 1e-3);
  CHECK(std::abs(summary.median - 1e-3) < 0.0625 * 1e-3);
  CHECK(summary.p99 == summary.median);
}

TEST_CASE("durations: quantiles are within 6 % whatever the length") {
  std::mt19937_64 random(7);
  for (const double scale : {3.0, 1e3, 1e6, 1e9, 1e11}) {
    Durations durations;
    std::vector<std::int64_t> all;
    std::int64_t total = 0;
    for (int i = 0; i < 1001; ++i) {
      all.push_back(static_cast<std::int64_t>(scale * std::exp(std::normal_distribution<double>(0.0, 1.0)(random))));
      total += all.back();
      durations.add(nanoseconds(all.back()));
    }
    std::sort(all.begin(), all.end());
    const auto summary = durations.summary();
    CAPTURE(scale, summary.median, summary.p99);
    CHECK(summary.count == 1001);
    CHECK(std::abs(summary.total - static_cast<double>(total) * 1e-9) <= 1e-9 * static_cast<double>(total));
    for (const auto& [got, rank] : {std::pair{summary.median, 500}, std::pair{summary.p99, 990}}) {
      const double expected = static_cast<double>(all[static_cast<std::size_t>(rank)]) * 1e-9;
      CHECK(std::abs(got - expected) <= 0.0625 * expected + 1e-12);
    }
  }
}

TEST_CASE("durations: the shortest, the longest, and what a clock that was set back gives") {
  Durations durations;
  durations.add(nanoseconds(-5));
  CHECK(durations.summary().p99 == 0.0);
  durations.add(nanoseconds(INT64_MAX));
  CHECK(durations.summary().count == 2);
  CHECK(durations.summary().p99 > 4000.0);
}

TEST_CASE("durations: noted by several threads") {
  Durations durations;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5000; ++j) durations.add(nanoseconds(100));
    });
  }
  threads.clear();
  CHECK(durations.summary().count == 20000);
  CHECK(std::abs(durations.summary().total - 2e-3) < 1e-9);
}

}  // namespace
}  // namespace fastnnunet::base
