#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto noise = make_transform(
    "GaussianNoiseTransform",
    record({{"noise_variance", Scalar::range(0, 0.1)}, {"p_per_channel", 0.5}, {"synchronize_channels", false}}));

Record parameters(double sigma) { return record({{"apply_to_channel", Numbers{1}}, {"sigmas", Numbers{sigma}}}); }

TEST_CASE("gaussian noise: has the stated deviation", "[transforms]") {
  Data data = data_of(2, {32, 32, 32});
  const Data out = apply(*noise, parameters(0.1), data);
  check_only_channel(data, out, 1);
  std::vector<float> added = out.channel(1);
  for (std::size_t i = 0; i < added.size(); ++i) added[i] -= data.image[added.size() + i];
  CHECK(mean_of(added) == Catch::Approx(0).margin(0.003));
  CHECK(deviation_of(added) == Catch::Approx(0.1).epsilon(0.02));
}

TEST_CASE("gaussian noise: is the stream's, and no other's", "[transforms]") {
  const Data data = data_of(2, {8, 9, 10});
  const random::Stream other(SampleId{.step = 1}, 2);
  const Data first = apply(*noise, parameters(0.1), data);
  CHECK(apply(*noise, parameters(0.1), data).image == first.image);
  CHECK(apply(*noise, parameters(0.1), data, 3, other).image != first.image);
}

TEST_CASE("gaussian noise: channels are chosen one by one, values in the range", "[transforms]") {
  int chosen = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Record p = drawn(*noise, {2, 1, {4, 4, 4}}, seed);
    REQUIRE(p.numbers("sigmas").size() == p.numbers("apply_to_channel").size());
    for (const double sigma : p.numbers("sigmas")) REQUIRE((sigma >= 0 && sigma < 0.1));
    chosen += static_cast<int>(p.numbers("sigmas").size());
  }
  CHECK(chosen == Catch::Approx(1000).margin(90));
  CHECK(has(message_of([&] {
              apply(*noise, record({{"apply_to_channel", Numbers{2}}, {"sigmas", Numbers{1}}}), data_of(2, {4, 4, 4}));
            }),
            "'apply_to_channel' below 2"));
}

}  // namespace
}  // namespace fastnnunet::transforms
