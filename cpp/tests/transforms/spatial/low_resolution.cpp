#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

Record attributes() {
  return record({{"scale", Scalar::range(0.5, 1.0)},
                 {"synchronize_channels", false},
                 {"synchronize_axes", true},
                 {"p_per_channel", 1.0},
                 {"ignore_axes", std::monostate{}},
                 {"allowed_channels", std::monostate{}}});
}

Record parameters(const Numbers& scales) { return record({{"apply_to_channel", Numbers{0}}, {"scales", scales}}); }

TEST_CASE("low resolution: half of the size, linear up again", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  Data data = data_of(1, {1, 1, 8});
  for (std::size_t i = 0; i < 8; ++i) data.image[i] = static_cast<float>(i * i);
  const Data out = apply(*low, parameters({1, 0.5}), data, 2);
  // nearest-exact takes voxels 1, 3, 5, 7.
  const std::vector<float> expected = {1, 3, 7, 13, 21, 31, 43, 49};
  for (std::size_t i = 0; i < 8; ++i) CHECK(out.image[i] == Catch::Approx(expected[i]));
}

TEST_CASE("low resolution: a scale of 1 changes nothing, a constant image neither", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  Data data = data_of(2, {9, 10, 11});
  CHECK(apply(*low, parameters({1, 1, 1}), data).image == data.image);
  check_only_channel(data, apply(*low, parameters({0.5, 0.7, 0.9}), data), 0);
  for (const float constant : {1.5f, -0.8115586f, 0.1f, -1024.7f}) {  // to the last bit
    std::fill(data.image.begin(), data.image.end(), constant);
    for (const float value : apply(*low, parameters({0.5, 0.7, 0.9}), data).image) REQUIRE(value == constant);
  }
}

TEST_CASE("low resolution: half a voxel is rounded to the even number, as in Python", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  Data data = data_of(1, {1, 1, 9});
  for (std::size_t i = 0; i < 9; ++i) data.image[i] = static_cast<float>(i);
  const Data out = apply(*low, parameters({1, 0.5}), data, 2);
  // Four voxels and not five: nearest-exact takes 1, 3, 5 and 7, and the ends are these.
  CHECK(out.image.front() == 1);
  CHECK(out.image[4] == Catch::Approx(4));
  CHECK(out.image.back() == 7);
}

TEST_CASE("low resolution: a scale above 1 repeats voxels and mixes them again", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  const Data data = data_of(1, {5, 6, 7});
  for (const double scale : {1.6, 2.0, 3.7, 11.0}) {
    CAPTURE(scale);
    const Data out = apply(*low, parameters({scale, 0.6, scale}), data);
    // In full: the large grid, and the image in it.
    const Index3 grid{std::lrint(5 * scale), 4, std::lrint(7 * scale)};
    const auto nearest = [&](int axis, double at) {
      const double from = static_cast<double>(data.shape[axis]) / static_cast<double>(grid[axis]);
      return std::min(static_cast<std::int64_t>(std::floor((at + 0.5) * from)), data.shape[axis] - 1);
    };
    const auto between = [&](int axis, std::int64_t i, std::int64_t& lower, std::int64_t& upper) {
      const double to = static_cast<double>(grid[axis]) / static_cast<double>(data.shape[axis]);
      const double at = std::max(0.0, to * (static_cast<double>(i) + 0.5) - 0.5);
      lower = std::min(static_cast<std::int64_t>(at), grid[axis] - 1);
      upper = std::min(lower + 1, grid[axis] - 1);
      return at - static_cast<double>(lower);
    };
    std::size_t voxel = 0;
    for (std::int64_t x = 0; x < 5; ++x)
      for (std::int64_t y = 0; y < 6; ++y)
        for (std::int64_t z = 0; z < 7; ++z, ++voxel) {
          std::int64_t at[3][2];
          const double weight[3] = {between(0, x, at[0][0], at[0][1]), between(1, y, at[1][0], at[1][1]),
                                    between(2, z, at[2][0], at[2][1])};
          double expected = 0;
          for (int corner = 0; corner < 8; ++corner) {
            double share = 1;
            std::int64_t place[3];
            for (int axis = 0; axis < 3; ++axis) {
              const int side = corner >> axis & 1;
              share *= side == 1 ? weight[axis] : 1 - weight[axis];
              place[axis] = nearest(axis, static_cast<double>(at[axis][side]));
            }
            expected += share * data.at(0, place[0], place[1], place[2]);
          }
          REQUIRE(out.image[voxel] == Catch::Approx(expected).margin(2e-6));
        }
  }
}

TEST_CASE("low resolution: ignored axes and allowed channels", "[transforms]") {
  Record restricted = attributes();
  restricted.set("ignore_axes", Numbers{0});
  restricted.set("allowed_channels", Numbers{1});
  const Record p = drawn(*make_transform("SimulateLowResolutionTransform", restricted), {3, 1, {8, 8, 8}}, 5);
  CHECK(p.numbers("apply_to_channel") == Numbers{1});
  CHECK(p.numbers("scales")[0] == 1.0);
  CHECK(p.numbers("scales")[1] == p.numbers("scales")[2]);
  CHECK(p.numbers("scales")[1] < 1.0);
  check_replay(*make_transform("SimulateLowResolutionTransform", attributes()), data_of(2, {6, 7, 8}));

  // In every channel.
  Record ignoring = attributes();
  ignoring.set("ignore_axes", Numbers{0});
  const Record all = drawn(*make_transform("SimulateLowResolutionTransform", ignoring), {3, 1, {8, 8, 8}}, 5);
  REQUIRE(all.numbers("apply_to_channel").size() == 3);
  const Numbers scales = all.numbers("scales");  // (channels, axes)
  REQUIRE(scales.size() == 9);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    CHECK(scales[3 * channel] == 1.0);
    CHECK(scales[3 * channel + 1] < 1.0);
  }
}

TEST_CASE("low resolution: a scale that leaves nothing is named", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  CHECK(has(message_of([&] { apply(*low, parameters({0.01, 1, 1}), data_of(1, {8, 8, 8})); }),
            "from 1 to 65536 voxels of 8, got 0.01"));
}

TEST_CASE("low resolution: each channel has its own scales", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  const Data data = data_of(3, {8, 9, 10});
  const std::vector<Numbers> scales = {{1, 1, 1}, {0.5, 0.7, 1}, {1, 1.5, 0.3}};
  // In any order, the one that changes nothing first, last and between.
  for (const Numbers& order : {Numbers{0, 1, 2}, Numbers{1, 0, 2}, Numbers{2, 1, 0}}) {
    Numbers all;
    for (const double c : order)
      for (const double scale : scales[static_cast<std::size_t>(c)]) all.push_back(scale);
    const Data out = apply(*low, record({{"apply_to_channel", order}, {"scales", all}}), data);
    for (std::int64_t c = 0; c < 3; ++c) {
      const Data alone = apply(*low,
                               record({{"apply_to_channel", Numbers{static_cast<double>(c)}},
                                       {"scales", scales[static_cast<std::size_t>(c)]}}),
                               data);
      CHECK(out.channel(c) == alone.channel(c));
      CHECK((out.channel(c) == data.channel(c)) == (c == 0));
    }
  }
}

TEST_CASE("low resolution: a scale is a float32", "[transforms]") {
  // 0.35 of 10 voxels is 3.5, which would round to 4; of the float32, a little less, it rounds to 3.
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  const Data data = data_of(1, {1, 1, 10});
  CHECK(apply(*low, parameters({1, 0.35}), data, 2).image == apply(*low, parameters({1, 0.3}), data, 2).image);
  CHECK(apply(*low, parameters({1, 0.35}), data, 2).image != apply(*low, parameters({1, 0.4}), data, 2).image);
}

TEST_CASE("low resolution: a single voxel may be left", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  const Data data = data_of(1, {8, 8, 8});
  const Data out = apply(*low, parameters({0.125, 0.125, 0.125}), data);
  for (const float value : out.image) REQUIRE(value == data.at(0, 4, 4, 4));
}

TEST_CASE("low resolution: a callable is told the channel and the axis that it is for", "[transforms]") {
  Record asking = attributes();
  asking.set("synchronize_axes", false);
  asking.set("allowed_channels", Numbers{2, 0});
  asking.set("scale", Scalar::callable([](const ScalarQuestion& question, std::uint64_t) {
               return 0.1 * static_cast<double>(1 + question.channel.value_or(6)) +
                      0.01 * static_cast<double>(1 + question.axis.value_or(6));
             }));
  const auto scales = [&] {
    return drawn(*make_transform("SimulateLowResolutionTransform", asking), {3, 1, {8, 8, 8}}, 1).numbers("scales");
  };
  const auto check = [](const Numbers& found, const Numbers& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Catch::Approx(expected[i]));
  };
  check(scales(), {0.31, 0.32, 0.33, 0.11, 0.12, 0.13});
  asking.set("synchronize_axes", true);
  check(scales(), {0.37, 0.37, 0.37, 0.17, 0.17, 0.17});
  asking.set("synchronize_channels", true);
  check(scales(), {0.77, 0.77, 0.77, 0.77, 0.77, 0.77});
}

TEST_CASE("low resolution: synchronized channels share the scale of each axis", "[transforms]") {
  Record same = attributes();
  same.set("synchronize_channels", true);
  same.set("synchronize_axes", false);
  const auto low = make_transform("SimulateLowResolutionTransform", same);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Numbers scales = drawn(*low, {3, 1, {8, 8, 8}}, seed).numbers("scales");
    REQUIRE(scales.size() == 9);
    for (std::size_t i = 3; i < 9; ++i) CHECK(scales[i] == scales[i - 3]);
    CHECK(scales[0] != scales[1]);
    CHECK(scales[1] != scales[2]);
  }
  for (const Numbers& wrong : {Numbers{}, Numbers{0.5, 0.5}, Numbers{0.5, 0.5, 0.5, 0.5}})
    CHECK(has(message_of([&] { apply(*low, parameters(wrong), data_of(1, {8, 8, 8})); }),
              "'scales' for each channel and axis, got " + std::to_string(wrong.size())));
}

}  // namespace
}  // namespace fastnnunet::transforms
