#include "fastnnunet/preprocessing/normalize.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "catch.h"

namespace fastnnunet::preprocessing {
namespace {

std::vector<float> image_of(std::size_t count) {
  std::mt19937 engine(7);
  std::normal_distribution<float> normal(40.0f, 300.0f);
  std::vector<float> image(count);
  for (float& value : image) value = normal(engine);
  return image;
}

struct Moments {
  double mean = 0.0, deviation = 0.0;
};
Moments moments_of(const std::vector<float>& values) {
  Moments result;
  for (const float value : values) result.mean += value;
  result.mean /= static_cast<double>(values.size());
  for (const float value : values) result.deviation += (value - result.mean) * (value - result.mean);
  result.deviation = std::sqrt(result.deviation / static_cast<double>(values.size()));
  return result;
}

TEST_CASE("preprocessing: z-scores have mean 0 and deviation 1, for every size and number of threads",
          "[preprocessing]") {
  for (const std::size_t count : {std::size_t{3}, std::size_t{100}, std::size_t{1003}, std::size_t{70000}}) {
    std::vector<float> one = image_of(count), three = one;
    normalize_z_score(one.data(), static_cast<std::int64_t>(count), nullptr, 1);
    normalize_z_score(three.data(), static_cast<std::int64_t>(count), nullptr, 3);
    CHECK(one == three);
    const Moments moments = moments_of(one);
    CHECK(std::abs(moments.mean) < 1e-5);
    CHECK(std::abs(moments.deviation - 1.0) < 1e-5);
  }
}

TEST_CASE("preprocessing: a mask decides which voxels count and which change", "[preprocessing]") {
  std::vector<float> image = image_of(5000);
  const std::vector<float> before = image;
  std::vector<std::uint8_t> mask(image.size());
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 3 == 0;
  normalize_z_score(image.data(), 5000, mask.data(), 2);
  std::vector<float> inside;
  bool kept = true;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0)
      inside.push_back(image[i]);
    else
      kept &= image[i] == before[i];
  }
  CHECK(kept);
  CHECK(std::abs(moments_of(inside).mean) < 1e-5);

  image = before;
  mask.assign(mask.size(), 0);
  normalize_z_score(image.data(), 5000, mask.data(), 2);
  CHECK(image == before);
}

TEST_CASE("preprocessing: a constant image becomes 0", "[preprocessing]") {
  std::vector<float> image(300, 5.0f);
  normalize_z_score(image.data(), 300, nullptr, 1);
  CHECK(image == std::vector<float>(300, 0.0f));
}

TEST_CASE("preprocessing: intensities of a CT are clipped first, and NaN stays", "[preprocessing]") {
  std::vector<float> image = {-2000.0f, 0.0f, 3000.0f, std::numeric_limits<float>::quiet_NaN()};
  normalize_ct(image.data(), 4, -1000.0f, 500.0f, 100.0f, 50.0f, 1);
  CHECK(image[0] == -22.0f);
  CHECK(image[1] == -2.0f);
  CHECK(image[2] == 8.0f);
  CHECK(std::isnan(image[3]));
}

TEST_CASE("preprocessing: ranges become those of 0 to 1", "[preprocessing]") {
  std::vector<float> image = {-5.0f, 0.0f, 15.0f};
  normalize_rescale(image.data(), 3, 1);
  CHECK(image == std::vector<float>{0.0f, 0.25f, 1.0f});
  image = {0.0f, 51.0f, 255.0f};
  CHECK(normalize_rgb(image.data(), 3, 1));
  CHECK(image == std::vector<float>{0.0f, 51.0f / 255.0f, 1.0f});
  for (const float wrong : {-1.0f, 256.0f, std::numeric_limits<float>::quiet_NaN()}) {
    image = {0.0f, wrong};
    CHECK_FALSE(normalize_rgb(image.data(), 2, 1));
    CHECK(image[0] == 0.0f);
  }
}

}  // namespace
}  // namespace fastnnunet::preprocessing
