#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> made(const Scalar& combinations, const Numbers& turns, const Numbers& axes) {
  return make_transform(
      "Rot90Transform",
      record({{"num_axis_combinations", combinations}, {"num_rot_per_combination", turns}, {"allowed_axes", axes}}));
}

Record parameters(const Numbers& turns, const Rows& axes) {
  return record({{"num_rot_per_combination", turns}, {"axis_combinations", axes}});
}

const auto all = made(Scalar::range(1, 3), {1, 2, 3}, {0, 1, 2});

TEST_CASE("rot90: turns image and segmentation from the first axis to the second", "[transforms]") {
  const Data data = data_of(2, {6, 18, 18}, 2);
  const Data out = apply(*all, parameters({1}, {{2, 3}}), data);
  for (std::int64_t c = 0; c < 2; ++c)
    for (std::int64_t x = 0; x < 6; ++x)
      for (std::int64_t y = 0; y < 18; ++y)
        for (std::int64_t z = 0; z < 18; ++z) {
          REQUIRE(out.at(c, x, y, z) == data.at(c, x, z, 17 - y));
          REQUIRE(out.label(c, x, y, z) == data.label(c, x, z, 17 - y));
        }
}

TEST_CASE("rot90: several turns are one after the other", "[transforms]") {
  const Data data = data_of(1, {7, 7, 7});
  Data step = data;
  const Numbers turns = {1, 3, 2, -1};
  const Rows axes = {{1, 2}, {1, 3}, {3, 2}, {2, 3}};
  for (std::size_t i = 0; i < turns.size(); ++i) step = apply(*all, parameters({turns[i]}, {axes[i]}), step);
  const Data out = apply(*all, parameters(turns, axes), data);
  CHECK(out.image == step.image);
  CHECK(out.labels == step.labels);
}

TEST_CASE("rot90: what comes back to the start does nothing", "[transforms]") {
  for (const auto& [turns, axes] : {std::pair<Numbers, Rows>{{4}, {{1, 2}}}, {{1, 3}, {{1, 2}, {1, 2}}}, {{}, {}}}) {
    const auto restored = all->new_parameters();
    all->restore(parameters(turns, axes), {1, 1, {6, 6, 6}}, *restored);
    CHECK_FALSE(all->acts(*restored));
  }
}

TEST_CASE("rot90: half turns keep any shape", "[transforms]") {
  const auto half = made(Scalar::constant(2), {2, 4}, {0, 1, 2});
  CHECK(half->after({1, 1, {4, 5, 6}}) == Geometry{1, 1, {4, 5, 6}});
  const Data data = data_of(1, {4, 5, 6});
  CHECK(apply(*half, parameters({2}, {{1, 3}}), data).at(0, 1, 2, 3) == data.at(0, 2, 2, 2));
  check_replay(*half, data);
}

TEST_CASE("rot90: pairs of axes as often, and as many as were asked for", "[transforms]") {
  int pairs[7] = {}, combinations[4] = {};
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Record p = drawn(*all, {1, 1, {8, 8, 8}}, seed);
    for (const auto& pair : p.rows("axis_combinations")) ++pairs[static_cast<int>(pair[0] * pair[1])];
    ++combinations[p.numbers("num_rot_per_combination").size()];
  }
  CHECK(pairs[2] + pairs[3] + pairs[6] == Catch::Approx(4000).margin(120));
  for (const int product : {2, 3, 6}) CHECK(pairs[product] == Catch::Approx(1333).margin(130));
  CHECK(combinations[2] == Catch::Approx(1000).margin(90));
  CHECK(combinations[1] == Catch::Approx(500).margin(80));
  check_replay(*all, data_of(1, {6, 6, 6}));
  check_replay(*made(Scalar::constant(1), {1}, {0, 1}), data_of(1, {1, 6, 6}), 2);
}

TEST_CASE("rot90: axes that do not fit are named", "[transforms]") {
  CHECK_THROWS_AS(made(Scalar::constant(1), {1}, {0}), InvalidArgument);
  CHECK_THROWS_AS(made(Scalar::constant(1), {}, {0, 1}), InvalidArgument);
  CHECK_THROWS_AS(made(Scalar::constant(1), {1.5}, {0, 1}), InvalidArgument);
  CHECK_THROWS_AS(made(Scalar::constant(1), {1}, {0, 1, 1}), InvalidArgument);
  CHECK(has(message_of([] { all->after({1, 1, {4, 8, 8}}); }), "[Rot90Transform] expected 'allowed_axes' along"));
  CHECK(has(message_of([] { all->after({1, 1, {1, 8, 8}, 2}); }), "'allowed_axes' below 2, got 2"));
  const Data data = data_of(1, {4, 6, 6});
  const auto refused = [&](const Record& record) { return message_of([&] { apply(*all, record, data); }); };
  CHECK(has(refused(parameters({1}, {{1, 2}})), "that keep the image's shape"));
  CHECK(has(refused(parameters({1}, {{2, 2}})), "twice"));
  CHECK(has(refused(parameters({1}, {{0, 2}})), "'axis_combinations' from 1 to 3"));
  CHECK(has(refused(parameters({1, 2}, {{2, 3}})), "'axis_combinations' for each of 2 rotations, got 1"));
}

TEST_CASE("rot90: one odd number of turns among even ones asks for equal axes", "[transforms]") {
  for (const Numbers& turns : {Numbers{1, 2}, Numbers{2, 1}, Numbers{2, -1, 4}, Numbers{2, 4, 3}, Numbers{-3, 2}})
    CHECK(has(message_of([&] { made(Scalar::constant(1), turns, {0, 1, 2})->after({1, 1, {4, 8, 8}}); }),
              "along which the image has one size"));
  for (const Numbers& turns : {Numbers{2}, Numbers{0, -2, 4}})
    CHECK(message_of([&] { made(Scalar::constant(1), turns, {0, 1, 2})->after({1, 1, {4, 8, 8}}); }) == "");
}

TEST_CASE("rot90: each number of turns as often", "[transforms]") {
  int counts[5] = {};
  for (std::uint64_t seed = 0; seed < 900; ++seed) {
    const Record record = drawn(*all, {1, 1, {8, 8, 8}}, seed);
    for (const double turns : record.numbers("num_rot_per_combination")) ++counts[static_cast<int>(turns)];
  }
  const int total = counts[1] + counts[2] + counts[3];
  for (const int turns : {1, 2, 3}) CHECK(counts[turns] == Catch::Approx(total / 3.0).margin(90));
}

TEST_CASE("rot90: turns back are turns the other way round", "[transforms]") {
  const Data data = data_of(1, {6, 6, 6});
  for (const auto& [back, forth] :
       {std::pair(-1.0, 3.0), {-2.0, 2.0}, {-3.0, 1.0}, {-5.0, 3.0}, {-4.0, 0.0}, {7.0, 3.0}}) {
    const Data one = apply(*all, parameters({back}, {{1, 3}}), data),
               other = apply(*all, parameters({forth}, {{1, 3}}), data);
    CHECK(one.image == other.image);
    CHECK(one.labels == other.labels);
  }
}

}  // namespace
}  // namespace fastnnunet::transforms
