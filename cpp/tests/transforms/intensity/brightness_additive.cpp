#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> brightness(double mu, double sigma, bool synchronize, double probability = 0.5) {
  return make_transform(
      "BrightnessAdditiveTransform",
      record({{"mu", mu}, {"sigma", sigma}, {"synchronize_channels", synchronize}, {"p_per_channel", probability}}));
}

TEST_CASE("additive brightness: adds the chosen channel's own number", "[transforms]") {
  const Data data = data_of(2, {9, 10, 11});
  const Record p = record({{"apply_to_channel", Numbers{1}}, {"shift", Numbers{7, 0.5}}});
  const Data out = apply(*brightness(0, 1, false), p, data);
  check_only_channel(data, out, 1);
  for (std::size_t i = 0; i < out.channel(1).size(); ++i) REQUIRE(out.channel(1)[i] == data.channel(1)[i] + 0.5f);
  check_replay(*brightness(0, 1, false), data);
}

TEST_CASE("additive brightness: synchronized shifts are uniform between mu and sigma, others are normal",
          "[transforms]") {
  std::vector<float> normal;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Geometry geometry{3, 1, {4, 4, 4}};
    const Record same = drawn(*brightness(-1, 0.5, true), geometry, seed);
    for (const double shift : same.numbers("shift")) {
      REQUIRE((shift >= -1 && shift < 0.5));
      REQUIRE(shift == same.numbers("shift")[0]);
    }
    const Record other = drawn(*brightness(2, 0.5, false, 1), geometry, seed);
    REQUIRE(other.numbers("shift").size() == 3);
    for (const double shift : other.numbers("shift")) normal.push_back(static_cast<float>(shift));
  }
  CHECK(mean_of(normal) == Catch::Approx(2).margin(0.04));
  CHECK(deviation_of(normal) == Catch::Approx(0.5).epsilon(0.06));
  CHECK(drawn(*brightness(0, 1, false, 0), {3, 1, {4, 4, 4}}, 0).numbers("shift").empty());
}

TEST_CASE("additive brightness: what does not fit is named", "[transforms]") {
  CHECK(
      has(message_of([] { brightness(1, 0.5, true); }), "[BrightnessAdditiveTransform] expected 'sigma' of at least"));
  CHECK(has(message_of([] { brightness(0, -0.5, false); }), "'sigma' of at least 0"));
  CHECK(has(message_of([] { brightness(NAN, 0.5, false); }), "a finite 'mu'"));
  CHECK(has(message_of([] {
              apply(*brightness(0, 1, false), record({{"apply_to_channel", Numbers{0}}, {"shift", Numbers{1}}}),
                    data_of(2, {4, 4, 4}));
            }),
            "'shift' for each of 2 channels, got 1"));
}

}  // namespace
}  // namespace fastnnunet::transforms
