#include "fastnnunet/preprocessing/legacy_random.h"

#include <cstdint>
#include <numeric>
#include <vector>

#include "catch.h"

namespace fastnnunet::preprocessing {
namespace {

TEST_CASE("preprocessing: numbers are those of NumPy's RandomState(1234)", "[preprocessing]") {
  // numpy.random.RandomState(1234).permutation(10)
  LegacyRandom random(1234);
  std::vector<std::uint32_t> values(10);
  std::iota(values.begin(), values.end(), 0u);
  random.shuffle(values.data(), 10);
  CHECK(values == std::vector<std::uint32_t>{7u, 2u, 9u, 1u, 0u, 8u, 4u, 5u, 6u, 3u});
  // .randint(0, 1000, 5) of the same generator
  std::vector<std::uint32_t> drawn;
  random.many_upto(999, 5, [&](std::uint32_t value) { drawn.push_back(value); });
  CHECK(drawn == std::vector<std::uint32_t>{233u, 154u, 30u, 683u, 158u});
}

TEST_CASE("preprocessing: where there is no choice nothing is drawn", "[preprocessing]") {
  LegacyRandom one(5), other(5);
  CHECK(one.upto(0) == 0);
  std::uint32_t single = 7;
  one.shuffle(&single, 1);
  one.shuffle(&single, 0);
  CHECK(single == 7);
  CHECK(one.upto(1000000) == other.upto(1000000));
}

}  // namespace
}  // namespace fastnnunet::preprocessing
