#include "fastnnunet/preprocessing/moments.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::preprocessing {
namespace {

TEST_CASE("preprocessing: moments are those of sums in double precision", "[preprocessing]") {
  std::mt19937 engine(5);
  std::normal_distribution<float> normal(300.0f, 90.0f);
  for (const std::int64_t count : {1, 7, 8, 9, 127, 128, 129, 1000, 100003}) {
    std::vector<float> values(static_cast<std::size_t>(count));
    double sum = 0.0, squares = 0.0;
    float least = 1e9f, most = -1e9f;
    for (float& value : values) {
      value = normal(engine);
      sum += value;
      least = std::min(least, value);
      most = std::max(most, value);
    }
    const double mean = sum / static_cast<double>(count);
    for (const float value : values) squares += (value - mean) * (value - mean);
    const Moments found = moments(Parts({{values.data(), nullptr, count}}));
    CHECK(std::abs(found.mean - mean) < 1e-6 * std::abs(mean));
    CHECK(std::abs(found.deviation - std::sqrt(squares / static_cast<double>(count))) < 2e-4);
    CHECK(found.least == least);
    CHECK(found.most == most);
  }
  CHECK_THROWS_AS(moments(Parts({})), InvalidArgument);
}

TEST_CASE("preprocessing: moments do not depend on how values are divided, and on their type", "[preprocessing]") {
  std::mt19937 engine(6);
  std::vector<std::int16_t> whole(5000);
  for (std::int16_t& value : whole) value = static_cast<std::int16_t>(engine() % 4000) - 1000;
  const std::vector<float> values(whole.begin(), whole.end());
  const Moments expected = moments(Parts({{values.data(), nullptr, 5000}}));
  const Moments found = moments(Parts({{nullptr, whole.data(), 1},
                                       {nullptr, nullptr, 0},
                                       {values.data() + 1, nullptr, 2998},
                                       {nullptr, whole.data() + 2999, 2001}}));
  CHECK(found.mean == expected.mean);
  CHECK(found.deviation == expected.deviation);
  CHECK(found.least == expected.least);
  CHECK(found.most == expected.most);
}

}  // namespace
}  // namespace fastnnunet::preprocessing
