#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> contrast(bool preserve_range) {
  return make_transform("ContrastTransform", record({{"contrast_range", Scalar::contrast(0.75, 1.25)},
                                                     {"preserve_range", preserve_range},
                                                     {"p_per_channel", 1.0},
                                                     {"synchronize_channels", false}}));
}

Record parameters(double factor) {
  return record({{"apply_to_channel", Numbers{1}}, {"multipliers", Numbers{factor}}});
}

TEST_CASE("contrast: scales the deviation and keeps the mean", "[transforms]") {
  const Data data = data_of(2, {9, 10, 11});
  const Data out = apply(*contrast(false), parameters(1.2), data);
  check_only_channel(data, out, 1);
  CHECK(mean_of(out.channel(1)) == Catch::Approx(mean_of(data.channel(1))).margin(1e-6));
  CHECK(deviation_of(out.channel(1)) == Catch::Approx(1.2 * deviation_of(data.channel(1))));
}

TEST_CASE("contrast: preserve_range clamps to the old extent", "[transforms]") {
  const Data data = data_of(2, {9, 10, 11});
  const std::vector<float> before = data.channel(1);
  const std::vector<float> after = apply(*contrast(true), parameters(1.25), data).channel(1);
  CHECK(*std::max_element(after.begin(), after.end()) == *std::max_element(before.begin(), before.end()));
  CHECK(*std::min_element(after.begin(), after.end()) == *std::min_element(before.begin(), before.end()));
  check_replay(*contrast(true), data);
}

}  // namespace
}  // namespace fastnnunet::transforms
