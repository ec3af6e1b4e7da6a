#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

Record attributes(bool synchronize) {
  return record({{"multiplier_range", Scalar::contrast(0.75, 1.25)},
                 {"p_per_channel", 1.0},
                 {"synchronize_channels", synchronize}});
}

TEST_CASE("multiplicative brightness: scales the chosen channel", "[transforms]") {
  const auto brightness = make_transform("MultiplicativeBrightnessTransform", attributes(false));
  const Data data = data_of(3, {5, 6, 7});
  const Data out = apply(*brightness, record({{"apply_to_channel", Numbers{1}}, {"multipliers", Numbers{1.25}}}), data);
  check_only_channel(data, out, 1);
  for (std::size_t i = 0; i < 210; ++i) REQUIRE(out.image[210 + i] == data.image[210 + i] * 1.25f);
}

TEST_CASE("multiplicative brightness: one value for all channels, or one each", "[transforms]") {
  const Geometry geometry{2, 1, {4, 4, 4}};
  int below = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const Numbers same = drawn(*make_transform("MultiplicativeBrightnessTransform", attributes(true)), geometry, seed)
                             .numbers("multipliers");
    REQUIRE(same[0] == same[1]);
    const Numbers own = drawn(*make_transform("MultiplicativeBrightnessTransform", attributes(false)), geometry, seed)
                            .numbers("multipliers");
    REQUIRE(own[0] != own[1]);
    REQUIRE((own[0] >= 0.75 && own[0] < 1.25));
    below += own[0] < 1;
  }
  CHECK(below == Catch::Approx(250).margin(45));
  check_replay(*make_transform("MultiplicativeBrightnessTransform", attributes(false)), data_of(2, {4, 4, 4}));
}

}  // namespace
}  // namespace fastnnunet::transforms
