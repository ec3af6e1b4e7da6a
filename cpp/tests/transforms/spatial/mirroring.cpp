#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto mirror = make_transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 1, 2}}}));

TEST_CASE("mirror: image and segmentation turn together", "[transforms]") {
  const Data data = data_of(2, {4, 5, 7}, 2);
  const Data out = apply(*mirror, record({{"axes", Numbers{0, 2}}}), data);
  for (std::int64_t c = 0; c < 2; ++c)
    for (std::int64_t x = 0; x < 4; ++x)
      for (std::int64_t y = 0; y < 5; ++y)
        for (std::int64_t z = 0; z < 7; ++z) {
          REQUIRE(out.at(c, x, y, z) == data.at(c, 3 - x, y, 6 - z));
          REQUIRE(out.label(c, x, y, z) == data.label(c, 3 - x, y, 6 - z));
        }
}

TEST_CASE("mirror: twice is nothing", "[transforms]") {
  const Data data = data_of(1, {5, 6, 7});
  for (const Numbers& axes : {Numbers{0}, Numbers{1}, Numbers{2}, Numbers{0, 1}, Numbers{0, 1, 2}}) {
    const Record parameters = record({{"axes", axes}});
    const Data twice = apply(*mirror, parameters, apply(*mirror, parameters, data));
    CHECK(twice.image == data.image);
    CHECK(twice.labels == data.labels);
  }
}

TEST_CASE("mirror: axes of a 2D sample are those of its plane", "[transforms]") {
  const Data data = data_of(1, {1, 4, 5});
  const Data out = apply(*mirror, record({{"axes", Numbers{0}}}), data, 2);
  CHECK(out.at(0, 0, 0, 2) == data.at(0, 0, 3, 2));
}

TEST_CASE("mirror: each allowed axis half of the time", "[transforms]") {
  const auto two = make_transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 2}}}));
  int counts[3] = {};
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Record p = drawn(*two, {1, 1, {8, 8, 8}}, seed);
    for (const double axis : p.numbers("axes")) ++counts[static_cast<int>(axis)];
  }
  CHECK(counts[0] == Catch::Approx(1000).margin(90));
  CHECK(counts[1] == 0);
  CHECK(counts[2] == Catch::Approx(1000).margin(90));
  check_replay(*mirror, data_of(1, {4, 5, 6}));
}

TEST_CASE("mirror: an axis that is not there is named", "[transforms]") {
  const Data data = data_of(1, {4, 4, 4});
  CHECK(has(message_of([&] { apply(*mirror, record({{"axes", Numbers{3}}}), data); }), "'axes'"));
  CHECK_THROWS_AS(make_transform("MirrorTransform", record({{"allowed_axes", Numbers{3}}})), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::transforms
