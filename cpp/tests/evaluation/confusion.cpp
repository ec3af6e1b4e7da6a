#include "fastnnunet/evaluation/confusion.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::evaluation {
namespace {

template <typename T>
std::vector<std::uint16_t> numbered(const std::vector<T>& values, const std::vector<std::int64_t>& labels) {
  std::vector<std::uint16_t> out(values.size());
  number_values(values.data(), std::ssize(values), LabelNumbers(labels), out.data());
  return out;
}

TEST_CASE("metrics: values have the number of their label, and everything else has none", "[evaluation]") {
  const std::vector<std::int64_t> labels{3, 0, -1};
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK(numbered<float>({3, 0, -1, -0.0F, 0.5F, 2, nan, infinity, -infinity, 3e9F, nan, 3}, labels) ==
        std::vector<std::uint16_t>{1, 2, 3, 2, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK(numbered<std::uint8_t>({3, 0, 255, 1}, labels) == std::vector<std::uint16_t>{1, 2, 0, 0});
  CHECK(numbered<std::uint64_t>({3, std::numeric_limits<std::uint64_t>::max(), 0}, labels) ==
        std::vector<std::uint16_t>{1, 0, 2});
  CHECK(numbered<std::int64_t>({std::numeric_limits<std::int64_t>::min(), -1}, labels) ==
        std::vector<std::uint16_t>{0, 3});
}

TEST_CASE("metrics: groups of equal neighbours are numbered and counted as single values are", "[evaluation]") {
  const std::vector<std::int64_t> labels{1, 2};
  const LabelNumbers numbers(labels);
  std::vector<float> one, other;
  for (int i = 0; i < 1003; ++i) {
    one.push_back(static_cast<float>(i / 41 % 4));
    other.push_back(static_cast<float>(i % 97 < 60 ? i / 41 % 4 : i % 3));
  }
  std::vector<std::int64_t> expected(9), counts(9);
  for (std::size_t i = 0; i < one.size(); ++i) ++expected[numbers.of(one[i]) * 3UL + numbers.of(other[i])];
  const auto rows = numbered(one, labels), columns = numbered(other, labels);
  count_pairs(rows.data(), columns.data(), std::ssize(rows), numbers.size(), counts.data());
  CHECK(counts == expected);
}

TEST_CASE("metrics: labels that cannot be numbered are refused", "[evaluation]") {
  CHECK_THROWS_AS(LabelNumbers({}), InvalidArgument);
  CHECK_THROWS_AS(LabelNumbers({1, 2, 1}), InvalidArgument);
  CHECK_THROWS_AS(LabelNumbers({1, std::int64_t{1} << 40}), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::evaluation
