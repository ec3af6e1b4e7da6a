#include "transforms/local/local_kernels.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto transform =
    make_transform("LocalContrastTransform", local_attributes("new_contrast", Scalar::range(0.3, 2), true, 0.7));

TEST_CASE("local contrast: differences from the kernel's mean are scaled where the kernel is", "[transforms]") {
  const Data data = data_of(2, {9, 10, 21});
  const std::vector<double> weights = local_weights(data.shape, {0.2, 0.5, 0.9}, {2, 3, 4});
  double mean = 0, total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    mean += weights[i] * double{data.image[i]};
    total += weights[i];
  }
  mean /= total;
  const Data out = apply(*transform, local_parameters("contrasts", 1.7, {{0.2, 0.5, 0.9}}), data);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double before = data.image[i];
    REQUIRE(out.image[i] == Catch::Approx(before + weights[i] * 0.7 * (before - mean)).margin(1e-5));
  }
}

TEST_CASE("local contrast: a kernel out of sight changes nothing but NaN", "[transforms]") {
  Data data = data_of(1, {5, 6, 7});
  const Record far = local_parameters("contrasts", 1.7, {{40, 0.5, 0.5}});
  CHECK(apply(*transform, far, data).image == data.image);
  data.image[17] = std::nanf("");
  for (const float value : apply(*transform, far, data).image) REQUIRE(std::isnan(value));
}

TEST_CASE("local contrast: replay and refusals", "[transforms]") { check_local(*transform, "contrasts"); }

}  // namespace
}  // namespace fastnnunet::transforms
