#include <cmath>
#include <cstdlib>
#include <functional>

#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto binary_operator =
    make_transform("ApplyRandomBinaryOperatorTransform", record({{"channel_idx", Numbers{-2, -1}},
                                                                 {"strel_size", Scalar::range(1, 8)},
                                                                 {"p_per_label", 0.5},
                                                                 {"operators", Numbers{0, 1, 2, 3}}}));
enum { kDilation, kErosion, kClosing, kOpening };

Record parameters(int code, double radius) {
  return record(
      {{"apply_to_channels", Numbers{-1}}, {"operators", Numbers{double(code)}}, {"strel_size", Numbers{radius}}});
}

// An image channel, and two one-hot channels of which the second is `second` and the first is the rest.
Data one_hot(const Index3& shape, const std::function<bool(std::int64_t, std::int64_t, std::int64_t)>& second) {
  Data data = data_of(3, shape);
  const auto size = static_cast<std::size_t>(voxels(shape));
  for (std::size_t i = 0; i < size; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const bool in = second(at / (shape[1] * shape[2]), at / shape[2] % shape[1], at % shape[2]);
    data.image[size + i] = in ? 0.0f : 1.0f;
    data.image[2 * size + i] = in ? 1.0f : 0.0f;
  }
  return data;
}

TEST_CASE("binary operator: a point dilated is a ball, a disk in 2D", "[transforms]") {
  // 70 voxels along Z: more than one word of the packed image.
  const Data data = one_hot({15, 16, 70}, [](auto x, auto y, auto z) { return x == 7 && y == 8 && z == 63; });
  for (const int radius : {1, 3, 6}) {
    const Data out = apply(*binary_operator, parameters(kDilation, radius), data);
    CHECK(out.channel(0) == data.channel(0));
    for (std::int64_t x = 0; x < 15; ++x)
      for (std::int64_t y = 0; y < 16; ++y)
        for (std::int64_t z = 0; z < 70; ++z) {
          const bool in = (x - 7) * (x - 7) + (y - 8) * (y - 8) + (z - 63) * (z - 63) <= radius * radius;
          REQUIRE(out.at(2, x, y, z) == (in ? 1.0f : 0.0f));
          // What one channel gains the other loses.
          REQUIRE(out.at(1, x, y, z) == (in ? 0.0f : 1.0f));
        }
  }
  const Data plane = one_hot({1, 9, 9}, [](auto, auto y, auto z) { return y == 4 && z == 4; });
  const Data out = apply(*binary_operator, parameters(kDilation, 2), plane, 2);
  for (std::int64_t y = 0; y < 9; ++y)
    for (std::int64_t z = 0; z < 9; ++z)
      REQUIRE(out.at(2, 0, y, z) == ((y - 4) * (y - 4) + (z - 4) * (z - 4) <= 4 ? 1.0f : 0.0f));
}

TEST_CASE("binary operator: rows of any length, also of whole words of the packed image", "[transforms]") {
  for (const std::int64_t length : {1, 2, 63, 64, 65, 127, 128, 129}) {
    CAPTURE(length);
    // A point at the end of each row grows by one voxel, and comes back to its place.
    const std::int64_t end = length - 1;
    const Data data = one_hot({1, 5, length}, [&](auto, auto y, auto z) { return y == 2 && z == end; });
    const Data grown = apply(*binary_operator, parameters(kDilation, 1), data, 2);
    const Data closed = apply(*binary_operator, parameters(kClosing, 1), data, 2);
    for (std::int64_t y = 0; y < 5; ++y)
      for (std::int64_t z = 0; z < length; ++z) {
        REQUIRE(grown.at(2, 0, y, z) == (std::abs(y - 2) + end - z <= 1 ? 1.0f : 0.0f));
        REQUIRE(closed.at(2, 0, y, z) == (y == 2 && z == end ? 1.0f : 0.0f));
      }
    const Data full = one_hot({1, 5, length}, [](auto, auto, auto) { return true; });
    CHECK(apply(*binary_operator, parameters(kErosion, 1), full, 2).image == full.image);
  }
}

TEST_CASE("binary operator: an erosion takes nothing from the border, and gives nothing to others", "[transforms]") {
  const Data data = one_hot({8, 8, 8}, [](auto x, auto, auto) { return x < 4; });
  const Data out = apply(*binary_operator, parameters(kErosion, 2), data);
  for (std::int64_t x = 0; x < 8; ++x) {
    CHECK(out.at(2, x, 0, 0) == (x < 2 ? 1.0f : 0.0f));
    CHECK(out.at(1, x, 0, 0) == data.at(1, x, 0, 0));
  }
}

TEST_CASE("binary operator: closing fills a hole, opening removes a speck", "[transforms]") {
  const Data hole = one_hot({12, 12, 12}, [](auto x, auto y, auto z) { return !(x == 6 && y == 6 && z == 6); });
  CHECK(apply(*binary_operator, parameters(kClosing, 1), hole).at(2, 6, 6, 6) == 1.0f);
  const Data speck =
      one_hot({12, 12, 12}, [](auto x, auto y, auto z) { return x < 5 || (x == 8 && y == 6 && z == 6); });
  const Data opened = apply(*binary_operator, parameters(kOpening, 1), speck);
  CHECK(opened.at(2, 8, 6, 6) == 0.0f);
  CHECK(opened.at(2, 4, 6, 6) == 1.0f);
  // Neither does anything the second time.
  for (const int code : {kClosing, kOpening}) {
    const Data once = apply(*binary_operator, parameters(code, 2), speck);
    CHECK(apply(*binary_operator, parameters(code, 2), once).image == once.image);
  }
}

TEST_CASE("binary operator: a fractional radius of an even element is shifted as in batchgeneratorsv2",
          "[transforms]") {
  // ball(1.6) has 4 points along each axis, at -1.6, -0.53, 0.53 and 1.6, of which the second lies on the voxel.
  const Data data = one_hot({9, 9, 9}, [](auto x, auto y, auto z) { return x == 4 && y == 4 && z == 4; });
  const Data out = apply(*binary_operator, parameters(kDilation, 1.6), data);
  for (std::int64_t x = 0; x < 9; ++x) CHECK(out.at(2, x, 4, 4) == (x == 3 || x == 4 ? 1.0f : 0.0f));
}

TEST_CASE("binary operator: parameters", "[transforms]") {
  const Geometry geometry{3, 1, {8, 8, 8}};
  int chosen = 0, operators[4] = {};
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Record p = drawn(*binary_operator, geometry, seed);
    chosen += static_cast<int>(p.numbers("apply_to_channels").size());
    for (const double code : p.numbers("operators")) ++operators[static_cast<int>(code)];
    for (const double radius : p.numbers("strel_size")) REQUIRE((radius >= 1 && radius < 8));
  }
  CHECK(chosen == Catch::Approx(1000).margin(90));
  for (const int count : operators) CHECK(count == Catch::Approx(250).margin(60));
  check_replay(*binary_operator,
               one_hot({9, 9, 9}, [](auto x, auto y, auto z) { return (x + y / 3 + z / 2) % 4 == 0; }));

  const Data data = one_hot({4, 4, 4}, [](auto, auto, auto) { return true; });
  CHECK(has(message_of([&] { apply(*binary_operator, parameters(4, 1), data); }), "'operators'"));
  CHECK(has(message_of([&] { apply(*binary_operator, parameters(0, -1), data); }), "'strel_size'"));
  CHECK(has(message_of([&] { apply(*binary_operator, parameters(0, std::nan("")), data); }), "'strel_size'"));
  CHECK(has(message_of([&] { apply(*binary_operator, parameters(0, 1), data_of(1, {4, 4, 4})); }), "channel_idx"));
}

}  // namespace
}  // namespace fastnnunet::transforms
