#include "fastnnunet/transforms/statistics.h"

#include <cmath>
#include <random>
#include <vector>

#include "catch.h"

namespace fastnnunet::transforms {
namespace {

TEST_CASE("statistics: one pass gives what several passes give, far from zero as well") {
  std::mt19937 random(1);
  for (const double centre : {0.0, 1e4, -3e5}) {
    std::normal_distribution<double> normal(centre, 2.0);
    for (const std::size_t count : {2u, 15u, 16u, 4096u, 4099u, 100003u}) {
      CAPTURE(centre, count);
      std::vector<float> values(count);
      for (float& value : values) value = static_cast<float>(normal(random));
      const Moments moments = Moments::of(values);
      const double expected = mean(values);
      CHECK(std::abs(moments.mean() - expected) <= 1e-9 * (1 + std::abs(centre)));
      CHECK(std::abs(moments.standard_deviation() - standard_deviation(values, expected)) <= 1e-7);
      CHECK(moments.extent().minimum == extent(values).minimum);
      CHECK(moments.extent().maximum == extent(values).maximum);
    }
  }
}

TEST_CASE("statistics: constant, single, empty and undefined values") {
  const std::vector<float> constant(5000, 3.3f);
  CHECK(Moments::of(constant).standard_deviation() == 0.0);
  CHECK(Moments::of(constant).mean() == static_cast<double>(3.3f));
  CHECK(std::isnan(Moments::of(std::vector<float>{1.0f}).standard_deviation()));
  std::vector<float> undefined(5000, 1.0f);
  undefined[4321] = std::nanf("");
  const Moments moments = Moments::of(undefined);
  CHECK(std::isnan(moments.mean()));
  CHECK(std::isnan(moments.standard_deviation()));
  CHECK(std::isnan(moments.extent().minimum));
  CHECK(std::isnan(moments.extent().maximum));
}

}  // namespace
}  // namespace fastnnunet::transforms
