#include "fastnnunet/base/parallel.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"

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
