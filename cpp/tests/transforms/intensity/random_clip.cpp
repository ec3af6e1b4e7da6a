#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> cut_off(bool synchronize = false) {
  return make_transform("CutOffOutliersTransform", record({{"percentile_lower", Scalar::range(1, 5)},
                                                           {"percentile_upper", Scalar::range(90, 99)},
                                                           {"p_synchronize_channels", synchronize},
                                                           {"p_per_channel", 0.5},
                                                           {"p_retain_std", 0.5}}));
}

Record parameters(double lower, double upper, bool retain_std) {
  return record({{"apply_channel", Numbers{0, 1}},
                 {"lower", Numbers{0, lower}},
                 {"upper", Numbers{0, upper}},
                 {"retain_std", Numbers{0, retain_std ? 1.0 : 0.0}}});
}

float percentile_of(std::vector<float> values, double percentile) {
  std::sort(values.begin(), values.end());
  const double place = percentile / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return static_cast<float>(values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]));
}

TEST_CASE("cut off outliers: clamps to the percentiles", "[transforms]") {
  for (const Index3& shape : {Index3{9, 10, 11}, Index3{1, 1, 2}, Index3{1, 1, 3}, Index3{33, 34, 35}}) {
    CAPTURE(shape);
    const Data data = data_of(2, shape);
    const Data out = apply(*cut_off(), parameters(7.3, 82.4, false), data);
    check_only_channel(data, out, 1);
    const float low = percentile_of(data.channel(1), 7.3), high = percentile_of(data.channel(1), 82.4);
    for (std::size_t i = 0; i < out.channel(1).size(); ++i)
      REQUIRE(out.channel(1)[i] == Catch::Approx(std::clamp(data.channel(1)[i], low, high)).margin(2e-4));
  }
}

TEST_CASE("cut off outliers: the deviation can be put back", "[transforms]") {
  const Data data = data_of(2, {9, 10, 11});
  const Data cut = apply(*cut_off(), parameters(10, 90, false), data);
  const Data out = apply(*cut_off(), parameters(10, 90, true), data);
  CHECK(deviation_of(out.channel(1)) == Catch::Approx(deviation_of(data.channel(1))));
  CHECK(mean_of(out.channel(1)) == Catch::Approx(mean_of(cut.channel(1))));
  check_replay(*cut_off(), data);
}

TEST_CASE("cut off outliers: percentiles for all channels, or for each", "[transforms]") {
  int different = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed)
    for (const bool synchronize : {false, true}) {
      const Record p = drawn(*cut_off(synchronize), {2, 1, {4, 4, 4}}, seed);
      const Numbers &apply = p.numbers("apply_channel"), &lower = p.numbers("lower");
      for (std::size_t c = 0; c < 2; ++c) {
        REQUIRE((apply[c] == 0 ? lower[c] == 0 && p.numbers("retain_std")[c] == 0 : lower[c] >= 1 && lower[c] < 5));
      }
      if (apply[0] == 0 || apply[1] == 0) continue;
      REQUIRE((lower[0] == lower[1]) == synchronize);
      ++different;
    }
  CHECK(different > 50);
}

TEST_CASE("cut off outliers: what does not fit is named", "[transforms]") {
  CHECK(has(message_of([] { apply(*cut_off(), parameters(-1, 99, false), data_of(2, {4, 4, 4})); }),
            "[CutOffOutliersTransform] expected percentiles between 0 and 100, got -1"));
  CHECK(has(message_of([] { apply(*cut_off(), parameters(1, 99, false), data_of(1, {4, 4, 4})); }),
            "'apply_channel' for each of 1 channels, got 2"));
}

TEST_CASE("cut off outliers: a channel of one value, and percentiles that are none", "[transforms]") {
  Data data = data_of(2, {4, 5, 6});
  // A constant channel keeps its value, with its deviation of 0 put back too.
  std::fill(data.image.begin() + 120, data.image.end(), 3.5f);
  for (const bool retain_std : {false, true})
    CHECK(apply(*cut_off(), parameters(10, 90, retain_std), data).image == data.image);
  // So does one that the percentiles leave one value of.
  data.image[130] = 100;
  data.image[140] = -100;
  for (const float value : apply(*cut_off(), parameters(10, 90, true), data).channel(1)) REQUIRE(value == 3.5f);
  for (const double wrong : {-0.5, 100.5, std::nan("")}) {
    CHECK(has(message_of([&] { apply(*cut_off(), parameters(wrong, 90, false), data); }), "between 0 and 100"));
    CHECK(has(message_of([&] { apply(*cut_off(), parameters(10, wrong, false), data); }), "between 0 and 100"));
    for (const char* name : {"percentile_lower", "percentile_upper"}) {
      Record attributes = record({{"percentile_lower", Scalar::constant(1)},
                                  {"percentile_upper", Scalar::constant(99)},
                                  {"p_synchronize_channels", false},
                                  {"p_per_channel", 1.0},
                                  {"p_retain_std", 0.0}});
      attributes.set(name, Scalar::constant(wrong));
      const auto transform = make_transform("CutOffOutliersTransform", attributes);
      CHECK(has(message_of([&] { drawn(*transform, {2, 1, {4, 4, 4}}, 1); }), "between 0 and 100"));
    }
  }
}

}  // namespace
}  // namespace fastnnunet::transforms
