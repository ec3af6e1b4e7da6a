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
    const Moments found = moments(values.data(), count);
    CHECK(std::abs(found.mean - mean) < 1e-6 * std::abs(mean));
    CHECK(std::abs(found.deviation - std::sqrt(squares / static_cast<double>(count))) < 2e-4);
    CHECK(found.least == least);
    CHECK(found.most == most);
  }
  const float none = 0.0f;
  CHECK_THROWS_AS(moments(&none, 0), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::preprocessing
