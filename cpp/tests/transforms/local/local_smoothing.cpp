#include "transforms/local/local_kernels.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

Record attributes() {
  Record made = local_attributes("smoothing_strength", Scalar::range(0.5, 1));
  made.set("kernel_size", Scalar::range(0.5, 1.5));
  return made;
}

const auto transform = make_transform("LocalSmoothingTransform", attributes());

Record parameters(double strength, double sigma, const Rows& locations = {{0.5, 0.5, 0.5}}) {
  Record made = local_parameters("strengths", strength, locations);
  made.set("sigma", sigma);
  return made;
}

std::int64_t mirrored(std::int64_t at, std::int64_t size) {
  while (at < 0 || at >= size) at = at < 0 ? -1 - at : 2 * size - 1 - at;
  return at;
}

// One axis after the other, from the definition.
std::vector<double> smoothed(const Data& data, double sigma) {
  std::vector<double> values(data.image.begin(), data.image.begin() + voxels(data.shape));
  const std::int64_t strides[3] = {data.shape[1] * data.shape[2], data.shape[2], 1};
  const auto radius = static_cast<std::int64_t>(4 * sigma + 0.5);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::vector<double> out(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t along = at / strides[axis] % data.shape[axis];
      double total = 0;
      for (std::int64_t tap = -radius; tap <= radius; ++tap) {
        const double weight = std::exp(-0.5 * static_cast<double>(tap * tap) / (sigma * sigma));
        total += weight;
        out[i] +=
            weight *
            values[static_cast<std::size_t>(at + (mirrored(along + tap, data.shape[axis]) - along) * strides[axis])];
      }
      out[i] /= total;
    }
    values = out;
  }
  return values;
}

TEST_CASE("local smoothing: mixes with a filtered copy where the kernel is", "[transforms]") {
  for (const Index3& shape : {Index3{9, 10, 70}, Index3{1, 3, 129}})
    for (const double sigma : {0.6, 1.5, 4.0}) {
      CAPTURE(shape[0], sigma);
      const Data data = data_of(2, shape);
      const std::vector<double> weights = local_weights(data.shape, {0.2, 0.5, 0.9}, {2, 3, 4});
      const std::vector<double> smooth = smoothed(data, sigma);
      const Data out = apply(*transform, parameters(0.8, sigma, {{0.2, 0.5, 0.9}}), data);
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const double weight = 0.8 * weights[i], before = data.image[i];
        REQUIRE(out.image[i] == Catch::Approx(weight * smooth[i] + (1 - weight) * before).margin(1e-5));
      }
    }
}

TEST_CASE("local smoothing: without a sigma the image stays", "[transforms]") {
  const Data data = data_of(1, {5, 6, 7});
  const Data out = apply(*transform, parameters(0.8, 0), data);
  for (std::size_t i = 0; i < data.image.size(); ++i)
    REQUIRE(out.image[i] == Catch::Approx(data.image[i]).margin(1e-6));
}

TEST_CASE("local smoothing: replay and refusals", "[transforms]") {
  check_replay(*transform, data_of(3, {6, 7, 8}));
  check_replay(*transform, data_of(2, {1, 7, 8}), 2);
  const Data data = data_of(2, {5, 6, 7});
  Record without = local_parameters("strengths", 0.8);
  CHECK(has(message_of([&] { apply(*transform, without, data); }), "an entry 'sigma'"));
  CHECK(
      has(message_of([&] { apply(*transform, parameters(0.8, 1, {{0.5, 0.5}}), data); }), "'locations' of 3 numbers"));
  CHECK_THROWS_AS(
      make_transform("LocalSmoothingTransform", local_attributes("smoothing_strength", Scalar::constant(1))),
      InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::transforms
