#include "fastnnunet/base/vote.h"

#include <cstdint>
#include <limits>

#include "catch.h"

namespace fastnnunet::base {
namespace {

double as_it_is(double weight) { return weight; }

int winner(const int (&labels)[8], const double (&z)[2], int nearest, Tiebreak tiebreak) {
  return vote<int, double>(labels, {0.5, 0.5}, {0.5, 0.5}, z, nearest, tiebreak, as_it_is);
}

TEST_CASE("vote: a label's weights add up", "[base]") {
  // Of z, the lower corners weigh 0.6: 5 has 3 of the 4, and 7 has 1 and all of the upper ones.
  const int labels[8] = {5, 7, 5, 7, 5, 7, 7, 7};
  CHECK(winner(labels, {0.6, 0.4}, 0, Tiebreak::nearest) == 7);
  CHECK(winner(labels, {0.8, 0.2}, 1, Tiebreak::nearest) == 5);
}

TEST_CASE("vote: ties", "[base]") {
  const int labels[8] = {5, 7, 5, 7, 5, 7, 5, 7};
  CHECK(winner(labels, {0.5, 0.5}, 1, Tiebreak::nearest) == 7);
  CHECK(winner(labels, {0.5, 0.5}, 0, Tiebreak::nearest) == 5);
  CHECK(winner(labels, {0.5, 0.5}, 1, Tiebreak::lowest) == 5);
  CHECK(winner(labels, {0.5, 0.5}, 0, Tiebreak::highest) == 7);
  // The nearest voxel's label is not among the best.
  const int three[8] = {9, 7, 5, 7, 5, 7, 5, 5};
  CHECK(winner(three, {0.5, 0.5}, 0, Tiebreak::nearest) == 5);
  const int tied[8] = {9, 7, 5, 7, 5, 7, 5, 9};
  CHECK(winner(tied, {0.5, 0.5}, 0, Tiebreak::nearest) == 5);
  CHECK(winner(tied, {0.5, 0.5}, 0, Tiebreak::highest) == 7);
}

TEST_CASE("vote: scores decide, not weights", "[base]") {
  const int labels[8] = {5, 7, 5, 7, 5, 7, 5, 7};
  const auto coarse = [](double weight) { return static_cast<double>(static_cast<int>(10 * weight)); };
  const double half[2] = {0.5, 0.5};
  CHECK(vote(labels, half, half, {0.49, 0.51}, 0, Tiebreak::lowest, coarse) == 7);
  CHECK(vote(labels, half, half, {0.55, 0.45}, 0, Tiebreak::highest, coarse) == 5);
  CHECK(vote(labels, half, half, {0.509, 0.491}, 0, Tiebreak::highest, [](double) { return 1.0; }) == 7);
}

TEST_CASE("vote: every NaN is a label of its own", "[base]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float labels[8] = {nan, nan, nan, nan, nan, nan, 3, 3};
  const float half[2] = {0.5f, 0.5f};
  CHECK(vote(labels, half, half, half, 0, Tiebreak::nearest, [](float weight) { return weight; }) == 3);
}

}  // namespace
}  // namespace fastnnunet::base
