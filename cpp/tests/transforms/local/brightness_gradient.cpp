#include <algorithm>

#include "transforms/local/local_kernels.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> made(bool centred, bool clipped, double low = 1, double high = 2) {
  Record attributes = local_attributes("max_strength", Scalar::range(low, high), true);
  attributes.set("mean_centered", centred);
  attributes.set("clip_intensities", clipped);
  return make_transform("BrightnessGradientAdditiveTransform", attributes);
}

TEST_CASE("brightness gradient: adds the kernel, centred or not", "[transforms]") {
  const Data data = data_of(2, {9, 10, 21});
  const std::vector<double> weights = local_weights(data.shape, {0.2, 0.5, 0.9}, {2, 3, 4});
  double mean = 0;
  for (const double weight : weights) mean += weight / static_cast<double>(weights.size());
  for (const bool centred : {false, true}) {
    const Data out = apply(*made(centred, false), local_parameters("strengths", -3, {{0.2, 0.5, 0.9}}), data);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double field = centred ? (weights[i] - mean) / std::max(1 - mean, mean) : weights[i];
      REQUIRE(out.image[i] == Catch::Approx(data.image[i] - 3 * field).margin(1e-5));
    }
  }
}

TEST_CASE("brightness gradient: clipping keeps the extent of the whole image", "[transforms]") {
  const Data data = data_of(2, {9, 10, 21});
  const auto [low, high] = std::minmax_element(data.image.begin(), data.image.end());
  const Data free = apply(*made(false, false), local_parameters("strengths", 9), data);
  const Data clipped = apply(*made(false, true), local_parameters("strengths", 9), data);
  for (std::size_t i = 0; i < data.image.size(); ++i)
    REQUIRE(clipped.image[i] == std::clamp(free.image[i], *low, *high));
  CHECK(*std::max_element(free.image.begin(), free.image.end()) > *high);
}

TEST_CASE("brightness gradient: a kernel out of sight, or a strength of zero, is not drawn", "[transforms]") {
  Record attributes = local_attributes("max_strength", Scalar::constant(0));
  attributes.set("mean_centered", true);
  attributes.set("clip_intensities", false);
  const auto still = make_transform("BrightnessGradientAdditiveTransform", attributes);
  CHECK(drawn(*still, {3, 1, {5, 6, 7}}, 1).numbers("apply_to_channel").empty());
  attributes.set("max_strength", Scalar::constant(1));
  attributes.set("loc", Scalar::constant(40));
  const auto far = make_transform("BrightnessGradientAdditiveTransform", attributes);
  CHECK(drawn(*far, {3, 1, {5, 6, 7}}, 1).numbers("apply_to_channel").empty());
}

TEST_CASE("brightness gradient: replay and refusals", "[transforms]") {
  for (const bool clipped : {false, true}) check_local(*made(true, clipped), "strengths");
}

TEST_CASE("brightness gradient: a channel that is left out takes nothing of the others with it", "[transforms]") {
  // Half of the strengths are zero.
  Record attributes = local_attributes("max_strength", Scalar::callable([](const ScalarQuestion&, std::uint64_t seed) {
                                         return seed % 2 == 0 ? 0.0 : 1.0 + static_cast<double>(seed % 7);
                                       }));
  attributes.set("mean_centered", true);
  attributes.set("clip_intensities", false);
  const auto some = make_transform("BrightnessGradientAdditiveTransform", attributes);
  int chosen[3] = {};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Record p = drawn(*some, {3, 1, {5, 6, 7}}, seed);
    const Numbers& channels = p.numbers("apply_to_channel");
    for (const double channel : channels) ++chosen[static_cast<int>(channel)];
    REQUIRE(std::is_sorted(channels.begin(), channels.end()));
    for (const double strength : p.numbers("strengths")) REQUIRE(strength >= 1);
    REQUIRE(p.numbers("strengths").size() == channels.size());
    for (const char* name : {"locations", "scales"}) {
      REQUIRE(p.rows(name).size() == channels.size());
      for (const Numbers& row : p.rows(name)) REQUIRE(row.size() == 3);
    }
  }
  for (const int count : chosen) CHECK(count == Catch::Approx(100).margin(30));
  check_replay(*some, data_of(3, {5, 6, 7}));
}

}  // namespace
}  // namespace fastnnunet::transforms
