#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> invert(double p_invert, double p_synchronize, double p_per_channel) {
  return make_transform("InvertImageTransform", record({{"p_invert_image", p_invert},
                                                        {"p_synchronize_channels", p_synchronize},
                                                        {"p_per_channel", p_per_channel}}));
}

TEST_CASE("invert image: the mean stays, differences from it change their sign", "[transforms]") {
  const Data data = data_of(2, {9, 10, 11});
  const auto transform = invert(1, 0, 0.5);
  const Data out = apply(*transform, record({{"apply", true}, {"apply_to_channel", Numbers{1}}}), data);
  check_only_channel(data, out, 1);
  const double mean = mean_of(data.channel(1));
  CHECK(mean_of(out.channel(1)) == Catch::Approx(mean).margin(1e-6));
  for (std::size_t i = 0; i < out.channel(1).size(); ++i)
    REQUIRE(out.channel(1)[i] == Catch::Approx(2 * mean - data.channel(1)[i]).margin(1e-5));
  CHECK(apply(*transform, record({{"apply", false}, {"apply_to_channel", Numbers{1}}}), data).image == data.image);
  check_replay(*transform, data);
}

TEST_CASE("invert image: synchronized means every channel", "[transforms]") {
  int applied = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const Record p = drawn(*invert(0.5, 1, 0), {3, 1, {4, 4, 4}}, seed);
    REQUIRE(p.numbers("apply_to_channel").size() == (p.boolean("apply") ? 3 : 0));
    applied += p.boolean("apply");
    REQUIRE(drawn(*invert(1, 0, 0), {3, 1, {4, 4, 4}}, seed).numbers("apply_to_channel").empty());
  }
  CHECK(applied == Catch::Approx(250).margin(50));
}

TEST_CASE("invert image: what does not fit is named", "[transforms]") {
  CHECK(has(message_of([] { invert(1.5, 0, 1); }), "'p_invert_image' between 0 and 1, got 1.5"));
  CHECK(has(message_of([] {
              apply(*invert(1, 0, 1), record({{"apply", true}, {"apply_to_channel", Numbers{2}}}),
                    data_of(2, {4, 4, 4}));
            }),
            "'apply_to_channel' below 2"));
}

}  // namespace
}  // namespace fastnnunet::transforms
