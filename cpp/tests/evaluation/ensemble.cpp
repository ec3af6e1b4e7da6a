#include "fastnnunet/evaluation/ensemble.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "catch.h"

namespace fastnnunet::evaluation {
namespace {

TEST_CASE("ensembles: the first of the largest means wins, and the first NaN over all", "[evaluation]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), low = -std::numeric_limits<float>::infinity();
  // A row for each channel.
  const std::vector<std::vector<float>> sums{{1, 1, 0, low, nan}, {2, 1, nan, low, nan}, {2, 1, 9, low, 9}};
  std::vector<float> best(5, low);
  std::vector<std::uint16_t> labels(5);
  for (std::size_t c = 0; c < sums.size(); ++c)
    keep_best(sums[c].data(), 5, 3, static_cast<std::uint16_t>(c), best.data(), labels.data());
  CHECK(labels == std::vector<std::uint16_t>{1, 0, 1, 0, 0});
}

TEST_CASE("ensembles: a later region overwrites an earlier one where it is above one half", "[evaluation]") {
  const std::vector<float> whole{2, 2, 1, 0}, part{2, 0, 0, 1.5F};
  std::vector<std::uint16_t> labels(4);
  keep_above_half(whole.data(), 4, 2, 7, labels.data());
  keep_above_half(part.data(), 4, 2, 9, labels.data());
  CHECK(labels == std::vector<std::uint16_t>{9, 7, 0, 9});
}

}  // namespace
}  // namespace fastnnunet::evaluation
