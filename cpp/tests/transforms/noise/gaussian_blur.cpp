#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto blur = make_transform("GaussianBlurTransform", record({{"blur_sigma", Scalar::range(0.5, 1.0)},
                                                                  {"synchronize_channels", false},
                                                                  {"synchronize_axes", false},
                                                                  {"p_per_channel", 0.5}}));

Record parameters(const Numbers& sigmas) { return record({{"apply_to_channel", Numbers{0}}, {"sigmas", sigmas}}); }

TEST_CASE("gaussian blur: keeps a constant image and the other channels", "[transforms]") {
  Data data = data_of(2, {9, 10, 11});
  check_only_channel(data, apply(*blur, parameters({0.7, 0.8, 0.9}), data), 0);
  std::fill(data.image.begin(), data.image.end(), 2.5f);
  for (const float value : apply(*blur, parameters({0.7, 0.8, 0.9}), data).image) REQUIRE(value == Catch::Approx(2.5f));
}

TEST_CASE("gaussian blur: a point becomes the product of three Gaussians", "[transforms]") {
  Data data = data_of(1, {15, 15, 15});
  std::fill(data.image.begin(), data.image.end(), 0.0f);
  data.image[(7 * 15 + 7) * 15 + 7] = 1.0f;
  const Data out = apply(*blur, parameters({0.5, 0.75, 1.0}), data);
  // sigma * 6 + 0.5, rounded to odd numbers: 3, 5 and 7 taps.
  const auto weights = [](double sigma, int half) {
    std::vector<double> taps;
    double sum = 0;
    for (int i = -half; i <= half; ++i) sum += taps.emplace_back(std::exp(-0.5 * i * i / (sigma * sigma)));
    for (double& tap : taps) tap /= sum;
    return taps;
  };
  const auto x = weights(0.5, 1), y = weights(0.75, 2), z = weights(1.0, 3);
  for (int i = -4; i <= 4; ++i)
    for (int j = -4; j <= 4; ++j)
      for (int k = -4; k <= 4; ++k) {
        const bool inside = std::abs(i) <= 1 && std::abs(j) <= 2 && std::abs(k) <= 3;
        const double expected = inside ? x[static_cast<std::size_t>(i + 1)] * y[static_cast<std::size_t>(j + 2)] *
                                             z[static_cast<std::size_t>(k + 3)]
                                       : 0.0;
        REQUIRE(out.at(0, 7 + i, 7 + j, 7 + k) == Catch::Approx(expected).margin(1e-6));
      }
}

TEST_CASE("gaussian blur: borders are reflected", "[transforms]") {
  Data data = data_of(1, {1, 1, 8});
  for (std::size_t i = 0; i < 8; ++i) data.image[i] = i == 1 ? 1.0f : 0.0f;
  // In 2D the first axis does not count; a kernel of one tap leaves the second alone.
  const Data out = apply(*blur, parameters({0.01, 0.5}), data, 2);
  const double side = std::exp(-2.0) / (1 + 2 * std::exp(-2.0));
  CHECK(out.image[0] == Catch::Approx(2 * side));
  CHECK(out.image[1] == Catch::Approx(1 - 2 * side));
}

TEST_CASE("gaussian blur: parameters", "[transforms]") {
  check_replay(*blur, data_of(2, {8, 8, 8}));
  const auto synchronized = make_transform("GaussianBlurTransform", record({{"blur_sigma", Scalar::range(0.5, 1.0)},
                                                                            {"synchronize_channels", true},
                                                                            {"synchronize_axes", true},
                                                                            {"p_per_channel", 1.0}}));
  const Numbers sigmas = drawn(*synchronized, {3, 1, {8, 8, 8}}, 1).numbers("sigmas");
  CHECK(sigmas == Numbers(9, sigmas[0]));
  const Data data = data_of(1, {8, 8, 8});
  CHECK(has(message_of([&] { apply(*blur, parameters({1.0}), data); }), "sigmas"));
  CHECK(has(message_of([&] { apply(*blur, parameters({1, 1, 9}), data); }), "voxels along axis 2"));
}

TEST_CASE("gaussian blur: an axis has more voxels than half of the kernel", "[transforms]") {
  // sigma 1: 7 taps, three of them on either side.
  for (std::size_t axis = 0; axis < 3; ++axis) {
    Index3 shape{9, 9, 9};
    shape[axis] = 4;
    CHECK(message_of([&] { apply(*blur, parameters({1, 1, 1}), data_of(1, shape)); }) == "");
    shape[axis] = 3;
    CHECK(has(message_of([&] { apply(*blur, parameters({1, 1, 1}), data_of(1, shape)); }),
              "at least 4 voxels along axis " + std::to_string(axis) + " for a kernel of 7 taps, got 3"));
  }
}

}  // namespace
}  // namespace fastnnunet::transforms
