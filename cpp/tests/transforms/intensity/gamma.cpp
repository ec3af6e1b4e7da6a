#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto gamma_transform = make_transform("GammaTransform", record({{"gamma", Scalar::contrast(0.7, 1.5)},
                                                                      {"p_invert_image", 0.5},
                                                                      {"synchronize_channels", false},
                                                                      {"p_per_channel", 1.0},
                                                                      {"p_retain_stats", 0.5}}));

Record parameters(double gamma, bool invert, bool retain) {
  return record({{"apply_to_channel", Numbers{0}},
                 {"gamma", Numbers{gamma}},
                 {"invert_image", Numbers{invert ? 1.0 : 0.0}},
                 {"retain_stats", Numbers{retain ? 1.0 : 0.0}}});
}

TEST_CASE("gamma: is a power of the image scaled to [0, 1]", "[transforms]") {
  const Data data = data_of(2, {7, 8, 9});
  const std::vector<float> before = data.channel(0);
  const auto [low, high] = std::minmax_element(before.begin(), before.end());
  const double range = double{*high} - *low;
  const Data out = apply(*gamma_transform, parameters(1.3, false, false), data);
  const Data inverted = apply(*gamma_transform, parameters(1.3, true, false), data);
  check_only_channel(data, out, 0);
  for (std::size_t i = 0; i < before.size(); ++i) {
    REQUIRE(out.image[i] == Catch::Approx(std::pow((before[i] - *low) / range, 1.3) * range + *low).margin(1e-5));
    REQUIRE(inverted.image[i] ==
            Catch::Approx(*high - std::pow((*high - before[i]) / range, 1.3) * range).margin(1e-5));
  }
}

TEST_CASE("gamma: retain_stats keeps mean and deviation", "[transforms]") {
  const Data data = data_of(1, {7, 8, 9});
  for (const bool invert : {false, true}) {
    const Data out = apply(*gamma_transform, parameters(0.7, invert, true), data);
    CHECK(out.image != data.image);
    CHECK(mean_of(out.image) == Catch::Approx(mean_of(data.image)).margin(1e-5));
    CHECK(deviation_of(out.image) == Catch::Approx(deviation_of(data.image)).epsilon(1e-5));
  }
}

TEST_CASE("gamma: a constant image stays finite", "[transforms]") {
  Data data = data_of(1, {4, 4, 4});
  std::fill(data.image.begin(), data.image.end(), 3.0f);
  for (const bool retain : {false, true})
    for (const float value : apply(*gamma_transform, parameters(1.4, true, retain), data).image)
      REQUIRE(value == Catch::Approx(3.0f));
}

TEST_CASE("gamma: what is drawn can be replayed", "[transforms]") {
  check_replay(*gamma_transform, data_of(3, {5, 5, 5}));
}

}  // namespace
}  // namespace fastnnunet::transforms
