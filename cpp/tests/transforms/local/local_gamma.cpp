#include "transforms/local/local_kernels.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto transform = make_transform("LocalGammaTransform", local_attributes("gamma", Scalar::range(0.3, 2)));

TEST_CASE("local gamma: is a power of the image scaled to [0, 1] where the kernel is", "[transforms]") {
  const Data data = data_of(2, {9, 10, 21});
  const std::vector<double> weights = local_weights(data.shape, {0.2, 0.5, 0.9}, {2, 3, 4});
  const std::vector<float> channel = data.channel(0);
  const auto [low, high] = std::minmax_element(channel.begin(), channel.end());
  const double minimum = *low, range = double{*high} - *low;
  const Data out = apply(*transform, local_parameters("gammas", 0.6, {{0.2, 0.5, 0.9}}), data);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double scaled = (channel[i] - minimum) / range;
    const double mixed = weights[i] * std::pow(scaled, 0.6) + (1 - weights[i]) * scaled;
    REQUIRE(out.image[i] == Catch::Approx(mixed * range + minimum).margin(1e-5));
  }
}

TEST_CASE("local gamma: zero to the power of zero is one, and to a negative power infinite", "[transforms]") {
  Data data = data_of(1, {3, 3, 3});
  for (std::size_t i = 0; i < 27; ++i) data.image[i] = static_cast<float>(i);
  const Record middle = local_parameters("gammas", 0, {{0, 0, 0}}, {{1, 1, 1}});
  CHECK(apply(*transform, middle, data).image[0] == Catch::Approx(26));
  CHECK(std::isinf(apply(*transform, local_parameters("gammas", -1, {{0, 0, 0}}, {{1, 1, 1}}), data).image[0]));
}

TEST_CASE("local gamma: a constant image stays", "[transforms]") {
  Data data = data_of(1, {4, 5, 6});
  std::fill(data.image.begin(), data.image.end(), 3.0f);
  for (const float value : apply(*transform, local_parameters("gammas", 1.4), data).image)
    REQUIRE(value == Catch::Approx(3.0f));
}

TEST_CASE("local gamma: replay and refusals", "[transforms]") { check_local(*transform, "gammas"); }

}  // namespace
}  // namespace fastnnunet::transforms
