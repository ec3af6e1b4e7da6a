#include "fastnnunet/engine/loader/thread_growth.h"

#include <algorithm>
#include <vector>

#include "catch.h"

namespace fastnnunet::engine {
namespace {

// A training that uses a batch for `use` seconds, and threads that make one in `make` thread seconds; what is beyond
// `useful` threads brings nothing.
struct Training {
  double use;
  double make;
  int useful = 1000;

  // As many batches, one after the other. Returns how many threads there are in the end.
  int run(ThreadGrowth& growth, int threads, int batches) {
    for (int i = 0; i < batches; ++i) {
      const double period = std::max(use, make / std::min(threads, useful));
      ++now.batches;
      now.seconds += period;
      now.waited += period - use;
      now.thread_seconds += threads <= useful ? make : period * threads;
      threads = growth.after_batch(now, threads);
    }
    return threads;
  }
  Progress now{};
};

TEST_CASE("thread growth: as many as the training can use, doubled at the most at a time", "[engine]") {
  struct Row {
    double use, make;
    int first, most, wanted;
  };
  const std::vector<Row> rows = {
      {0.1, 0.05, 2, 16, 2},   // the training is the slower one
      {0.1, 0.195, 2, 16, 2},  // just so
      {0.1, 0.208, 2, 16, 2},  // a wait that nobody notices
      {0.1, 0.5, 2, 16, 5},    // 2, 4, 5
      {0.1, 1.55, 2, 16, 16},  // 2, 4, 8, 16
      {0.1, 50.0, 2, 16, 16},  // never enough
      {0.0, 1.0, 3, 7, 7},     // nobody does anything with a batch
      {0.1, 0.5, 2, 2, 2},     // nor may there be more
      {0.1, 0.5, 2, 0, 2},
  };
  for (const Row& row : rows) {
    CAPTURE(row.use, row.make, row.first, row.most);
    ThreadGrowth growth(row.most);
    Training training{row.use, row.make};
    CHECK(training.run(growth, row.first, 1000) == row.wanted);
    CHECK(training.run(growth, row.wanted, 1000) == row.wanted);
  }
}

TEST_CASE("thread growth: one step at a time, and only after a while", "[engine]") {
  ThreadGrowth growth(64);
  Training training{0.1, 6.4};
  CHECK(training.run(growth, 4, 32) == 4);  // the first batch begins the period
  CHECK(training.run(growth, 4, 1) == 8);
  CHECK(training.run(growth, 8, 31) == 8);
  CHECK(training.run(growth, 8, 1) == 16);
  // However many batches there are in it, two seconds are a period.
  ThreadGrowth fast(64);
  Training short_batches{0.001, 0.04};
  CHECK(short_batches.run(fast, 4, 200) == 4);
  CHECK(short_batches.run(fast, 4, 2) == 8);
}

TEST_CASE("thread growth: threads that bring nothing are the last", "[engine]") {
  ThreadGrowth growth(64);
  Training training{0.01, 0.8, 8};  // a lock that eight threads wait for
  CHECK(training.run(growth, 4, 2000) == 16);
  CHECK_FALSE(growth.may_grow(16));
}

TEST_CASE("thread growth: a wait while threads are idle is not for want of threads", "[engine]") {
  ThreadGrowth growth(64);
  Progress now;
  for (int i = 0; i < 500; ++i) {
    ++now.batches;
    now.seconds += 0.1;
    now.waited += 0.05;
    now.thread_seconds += 0.1;  // of four threads one works
    REQUIRE(growth.after_batch(now, 4) == 4);
  }
  CHECK(growth.may_grow(4));
}

}  // namespace
}  // namespace fastnnunet::engine
