#include <limits>

#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> rician(const Numbers& range = {0, 0.1}) {
  return make_transform("RicianNoiseTransform", record({{"noise_variance", range}}));
}

Record parameters(double deviation) { return record({{"variance", deviation}}); }

TEST_CASE("rician noise: is the magnitude of a signal with two noisy parts", "[transforms]") {
  // More than one block, and an end that is none.
  const Data data = data_of(2, {17, 18, 19});
  const double deviation = 0.3;
  const random::Stream field({}, 2);
  const std::size_t count = data.image.size();
  std::vector<float> real(count, 0.0f), imaginary(count, 0.0f), expected(count);
  field.add_normal(real, 0, static_cast<float>(deviation));
  field.add_normal(imaginary, count, static_cast<float>(deviation));
  const float minimum = *std::min_element(data.image.begin(), data.image.end());
  for (std::size_t i = 0; i < count; ++i)
    expected[i] = std::hypot(data.image[i] - minimum + real[i], imaginary[i]) + minimum;
  const double mean = mean_of(expected), scale = deviation_of(data.image) / deviation_of(expected);
  const Data out = apply(*rician(), parameters(deviation), data, 3, field);
  for (std::size_t i = 0; i < count; ++i)
    REQUIRE(out.image[i] == Catch::Approx((expected[i] - mean) * scale + mean_of(data.image)).margin(2e-5));
  CHECK(out.labels == data.labels);
}

TEST_CASE("rician noise: keeps mean and deviation of all channels together", "[transforms]") {
  Data data = data_of(2, {9, 10, 11});
  for (std::size_t i = 0; i < data.image.size() / 2; ++i) data.image[i] = data.image[i] * 3.0f + 5.0f;
  const Data out = apply(*rician(), parameters(0.5), data);
  CHECK(mean_of(out.image) == Catch::Approx(mean_of(data.image)));
  CHECK(deviation_of(out.image) == Catch::Approx(deviation_of(data.image)));
  CHECK(std::abs(mean_of(out.channel(0)) - mean_of(data.channel(0))) > 1e-3);
  check_replay(*rician(), data);
}

TEST_CASE("rician noise: a constant image without noise stays", "[transforms]") {
  Data data = data_of(1, {4, 5, 6});
  std::fill(data.image.begin(), data.image.end(), 3.5f);
  CHECK(apply(*rician(), parameters(0), data).image == data.image);
  data.image[7] = std::numeric_limits<float>::quiet_NaN();
  for (const float value : apply(*rician(), parameters(0), data).image) CHECK(std::isnan(value));
}

TEST_CASE("rician noise: draws between its bounds and refuses others", "[transforms]") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const double variance = drawn(*rician({0.2, 0.3}), {2, 1, {4, 4, 4}}, seed).number("variance");
    REQUIRE((variance >= 0.2 && variance < 0.3));
  }
  CHECK(has(message_of([] { rician({-0.1, 0.3}); }), "'noise_variance' of two numbers, 0 <= low <= high"));
  CHECK(has(message_of([] { rician({0.3}); }), "got 1 numbers"));
  CHECK(has(message_of([] { apply(*rician(), parameters(-1), data_of(1, {2, 2, 2})); }), "'variance' of at least 0"));
}

}  // namespace
}  // namespace fastnnunet::transforms
