#include "fastnnunet/preprocessing/order_statistics.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::preprocessing {
namespace {

TEST_CASE("preprocessing: values at ranks are those of the sorted values", "[preprocessing]") {
  std::mt19937 engine(3);
  std::normal_distribution<float> normal(0.0f, 500.0f);
  std::vector<float> values(5003);
  for (float& value : values) value = normal(engine);
  values[17] = std::numeric_limits<float>::infinity();
  values[18] = -std::numeric_limits<float>::infinity();
  std::fill(values.begin() + 100, values.begin() + 400, 7.0f);
  std::vector<float> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const std::vector<std::int64_t> ranks = {0, 1, 25, 26, 2501, 2502, 4977, 5002, 0};
  for (const int threads : {1, 3}) {
    const auto count = static_cast<std::int64_t>(values.size());
    const Parts parts({{values.data(), nullptr, 100}, {values.data() + 100, nullptr, count - 100}});
    const std::vector<float> found = order_statistics(parts, ranks, threads);
    REQUIRE(found.size() == ranks.size());
    for (std::size_t i = 0; i < ranks.size(); ++i) CHECK(found[i] == sorted[static_cast<std::size_t>(ranks[i])]);
  }
  CHECK_THROWS_AS(order_statistics(Parts({{values.data(), nullptr, 10}}), {10}, 1), InvalidArgument);
  CHECK_THROWS_AS(order_statistics(Parts({{values.data(), nullptr, 10}}), {-1}, 1), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::preprocessing
