#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> sharpening(double p_same = 0, double p_clamp = 0, double probability = 0.5) {
  return make_transform("SharpeningTransform", record({{"strength", Scalar::range(0.1, 1)},
                                                       {"p_same_for_each_channel", p_same},
                                                       {"p_per_channel", probability},
                                                       {"p_clamp_intensities", p_clamp}}));
}

Record parameters(double strength, bool clamped) {
  return record({{"apply_channel", Numbers{0, 1}},
                 {"strengths", Numbers{9, strength}},
                 {"clamp_intensities", Numbers{0, clamped ? 1.0 : 0.0}}});
}

// The same, voxel by voxel.
float expected_at(const Data& data, const Index3& at, int dims, double strength) {
  const auto value = [&](Index3 p) {
    for (int axis = 0; axis < 3; ++axis) p[axis] = std::clamp<std::int64_t>(p[axis], 0, data.shape[axis] - 1);
    return double{data.at(1, p[0], p[1], p[2])};
  };
  double laplacian = 0;
  for (int axis = 3 - dims; axis < 3; ++axis) {
    Index3 before = at, after = at;
    --before[axis];
    ++after[axis];
    laplacian += 2 * value(at) - value(before) - value(after);
  }
  return static_cast<float>(value(at) + strength * laplacian);
}

TEST_CASE("sharpening: adds the negated Laplacian with replicated borders", "[transforms]") {
  for (const auto& [shape, dims] : std::vector<std::pair<Index3, int>>{
           {{7, 8, 9}, 3}, {{1, 8, 40}, 2}, {{1, 8, 9}, 3}, {{2, 2, 2}, 3}, {{1, 1, 5}, 3}, {{1, 1, 1}, 3}}) {
    CAPTURE(shape, dims);
    const Data data = data_of(2, shape);
    const Data out = apply(*sharpening(), parameters(0.7, false), data, dims);
    if (voxels(shape) > 1) check_only_channel(data, out, 1);
    for (std::int64_t x = 0; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        for (std::int64_t z = 0; z < shape[2]; ++z)
          REQUIRE(out.at(1, x, y, z) == Catch::Approx(expected_at(data, {x, y, z}, dims, 0.7)).margin(2e-5));
  }
}

TEST_CASE("sharpening: clamped to the old extent", "[transforms]") {
  const Data data = data_of(2, {9, 10, 11});
  const std::vector<float> before = data.channel(1), after = apply(*sharpening(), parameters(1, true), data).channel(1);
  CHECK(*std::max_element(after.begin(), after.end()) == *std::max_element(before.begin(), before.end()));
  CHECK(*std::min_element(after.begin(), after.end()) == *std::min_element(before.begin(), before.end()));
  check_replay(*sharpening(0.5, 0.5), data);
  check_replay(*sharpening(0.5, 0.5), data_of(2, {1, 10, 11}), 2);
}

TEST_CASE("sharpening: one strength for all channels, or one for each", "[transforms]") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Numbers same = drawn(*sharpening(1, 0.5), {2, 1, {4, 4, 4}}, seed).numbers("strengths");
    const Numbers own = drawn(*sharpening(0, 0.5), {2, 1, {4, 4, 4}}, seed).numbers("strengths");
    REQUIRE((same[0] == same[1] && own[0] != own[1]));
    REQUIRE((own[0] >= 0.1 && own[0] < 1));
  }
}

TEST_CASE("sharpening: what does not fit is named", "[transforms]") {
  CHECK(has(message_of([] { apply(*sharpening(), parameters(1, false), data_of(3, {4, 4, 4})); }),
            "'apply_channel' for each of 3 channels, got 2"));
  CHECK(has(message_of([] { apply(*sharpening(), parameters(1, false), data_of(2, {4, 1, 4})); }),
            "[SharpeningTransform] expected more than one voxel along each axis that follows a longer one, got 1 along "
            "axis 1"));
  Record wrong = parameters(1, false);
  wrong.set("clamp_intensities", Numbers{0, 2});
  CHECK(has(message_of([&] { apply(*sharpening(), wrong, data_of(2, {4, 4, 4})); }), "'clamp_intensities' of 0 or 1"));
}

}  // namespace
}  // namespace fastnnunet::transforms
