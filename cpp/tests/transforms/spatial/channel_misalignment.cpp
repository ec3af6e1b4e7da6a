#include <cmath>
#include <numbers>

#include "transforms/intensity.h"
#include "transforms/spatial/attributes.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

Record attributes(const Numbers& channels, double p = 1) {
  return record({{"im_channels_2_misalign", channels},
                 {"squeezingZYX", Numbers{0.1, 0.2, 0.3}},
                 {"p_squeeze", p},
                 {"rotation_ax_cor_sag", Numbers{0.1, 0.2, 0.3}},
                 {"p_rotation", p},
                 {"shiftZYX", Numbers{1, 2, 3}},
                 {"p_shift", p}},
                "ChannelMisalignmentTransform");
}

const auto first = make_transform("ChannelMisalignmentTransform", attributes({0}));

TEST_CASE("channel misalignment: a shift moves one channel and fills with zeros", "[transforms]") {
  const Data data = data_of(2, {4, 5, 6});
  const Data out = apply(*first, placed_at({2 + 1, 2.5 - 2, 3 + 3}), data);
  check_only_channel(data, out, 0);
  for (std::int64_t x = 0; x < 4; ++x)
    for (std::int64_t y = 0; y < 5; ++y)
      for (std::int64_t z = 0; z < 6; ++z) {
        const bool inside = x + 1 < 4 && y - 2 >= 0 && z + 3 < 6;
        REQUIRE(out.at(0, x, y, z) == (inside ? data.at(0, x + 1, y - 2, z + 3) : 0.0f));
      }
}

TEST_CASE("channel misalignment: an affine turns about the middle, before the shift", "[transforms]") {
  const Data data = data_of(2, {7, 7, 7});
  const Rows quarter = {{1, 0, 0}, {0, 0, -1}, {0, 1, 0}};
  const Data out = apply(*first, placed_at({3.5, 3.5 + 2, 3.5}, quarter), data);
  check_only_channel(data, out, 0);
  for (std::int64_t x = 0; x < 7; ++x)
    for (std::int64_t y = 0; y < 7; ++y)
      for (std::int64_t z = 0; z < 7; ++z)
        REQUIRE(out.at(0, x, y, z) ==
                (y + 2 < 7 ? Catch::Approx(data.at(0, x, 6 - z, y + 2)).margin(1e-5) : Catch::Approx(0)));
}

TEST_CASE("channel misalignment: the matrix rotates a scaling", "[transforms]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Record p = drawn(*first, {2, 1, {8, 9, 10}}, seed);
    const Rows& m = p.rows("affine");
    for (std::size_t a = 0; a < 3; ++a) {
      const double length = std::hypot(m[0][a], m[1][a], m[2][a]);
      CHECK(length == Catch::Approx(1).margin(0.1 * static_cast<double>(a + 1)));
      const std::size_t b = (a + 1) % 3;
      CHECK(m[0][a] * m[0][b] + m[1][a] * m[1][b] + m[2][a] * m[2][b] == Catch::Approx(0).margin(1e-12));
    }
  }
}

TEST_CASE("channel misalignment: without a change nothing is done", "[transforms]") {
  const auto restored = first->new_parameters();
  first->restore(placed_at({4, 4.5, 5}), {2, 1, {8, 9, 10}}, *restored);
  CHECK_FALSE(first->acts(*restored));
  const auto never = make_transform("ChannelMisalignmentTransform", attributes({0}, 0));
  random::Stream stream({}, 1);
  never->draw(stream, {2, 1, {8, 9, 10}}, *restored);
  CHECK_FALSE(never->acts(*restored));
}

TEST_CASE("channel misalignment: replay", "[transforms]") {
  check_replay(*first, data_of(2, {6, 7, 8}));
  check_replay(*make_transform("ChannelMisalignmentTransform", attributes({-1, 0}, 0.5)), data_of(2, {1, 7, 8}), 2);
}

TEST_CASE("channel misalignment: what does not fit is named", "[transforms]") {
  const Data data = data_of(2, {4, 5, 6});
  const auto refused = [&](const Record& record) { return message_of([&] { apply(*first, record, data); }); };
  CHECK(has(refused(placed_at({2, 2})), "'center_location_in_pixels' of 3 numbers, got 2"));
  CHECK(has(refused(placed_at({2, std::nan(""), 3})), "a finite 'center_location_in_pixels', got nan"));
  CHECK(has(refused(placed_at({2 + 5, 2, 3})), "a shift of at most the image's 4 voxels along axis 0, got 5"));
  CHECK(has(refused(placed_at({2, 2, 3}, Rows{{1, 0}, {0, 1}})), "'affine' of 3 rows"));
  for (const double entry : {std::nan(""), double{INFINITY}, 1e300})
    CHECK(has(refused(placed_at({2, 2, 3}, Rows{{1, 0, 0}, {0, entry, 0}, {0, 0, 1}})), "expected 'affine'"));
  CHECK(has(message_of([] { first->after({0, 1, {4, 5, 6}}); }), "'im_channels_2_misalign' below 0, got 0"));
  random::Stream stream({}, 1);
  const auto p = first->new_parameters();
  CHECK(has(message_of([&] { first->draw(stream, {2, 1, {4, 5, 2}}, *p); }), "'shiftZYX' of at most the image's 2"));
  Record wrong = attributes({0});
  wrong.set("shiftZYX", Numbers{-1, 0, 0});
  CHECK_THROWS_AS(make_transform("ChannelMisalignmentTransform", wrong), InvalidArgument);
  wrong.set("shiftZYX", Numbers{1, 0});
  CHECK(has(message_of([&] { make_transform("ChannelMisalignmentTransform", wrong)->after({1, 1, {4, 5, 6}}); }),
            "'shiftZYX' for each of 3 axes, got 2"));
}

TEST_CASE("channel misalignment: every channel that is named, and only these", "[transforms]") {
  const Data data = data_of(4, {4, 5, 6});
  const auto three = make_transform("ChannelMisalignmentTransform", attributes({2, 0, -1}));
  const Data out = apply(*three, placed_at({2 + 1, 2.5, 3}), data);
  for (std::int64_t c = 0; c < 4; ++c)
    for (std::int64_t x = 0; x < 4; ++x)
      REQUIRE(out.at(c, x, 2, 3) == (c == 1 ? data.at(c, x, 2, 3) : x + 1 < 4 ? data.at(c, x + 1, 2, 3) : 0.0f));
}

TEST_CASE("channel misalignment: a shift of the image's size is the largest", "[transforms]") {
  CHECK(message_of([] { drawn(*first, {2, 1, {1, 2, 3}}, 1); }) == "");
  CHECK(has(message_of([] { drawn(*first, {2, 1, {1, 1, 3}}, 1); }), "'shiftZYX' of at most the image's 1 voxels"));
  const Data data = data_of(1, {4, 5, 6});
  CHECK(apply(*first, placed_at({2 + 4, 2.5, 3}), data).image == std::vector<float>(120, 0.0f));
}

TEST_CASE("channel misalignment: what is never done needs no numbers", "[transforms]") {
  for (const auto& [probability, numbers] :
       {std::pair("p_squeeze", "squeezingZYX"), {"p_rotation", "rotation_ax_cor_sag"}, {"p_shift", "shiftZYX"}}) {
    Record some = attributes({0});
    some.set(numbers, Numbers{});
    CHECK(has(message_of([&] { make_transform("ChannelMisalignmentTransform", some)->after({1, 1, {4, 5, 6}}); }),
              "for each of 3 axes, got 0"));
    some.set(probability, 0.0);
    CHECK(message_of([&] { make_transform("ChannelMisalignmentTransform", some)->after({1, 1, {4, 5, 6}}); }) == "");
  }
}

}  // namespace
}  // namespace fastnnunet::transforms
