#include "transforms/intensity.h"

namespace fastnnunet {
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
}

TEST_CASE("low resolution: a scale that leaves nothing is named", "[transforms]") {
  const auto low = make_transform("SimulateLowResolutionTransform", attributes());
  CHECK(has(message_of([&] { apply(*low, parameters({0.01, 1, 1}), data_of(1, {8, 8, 8})); }),
            "from 1 to 65536 voxels of 8, got 0.01"));
}

}  // namespace
}  // namespace fastnnunet
