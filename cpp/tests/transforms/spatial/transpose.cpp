#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

const auto all = make_transform("TransposeAxesTransform", record({{"allowed_axes", Numbers{0, 1, 2}}}));
const auto last = make_transform("TransposeAxesTransform", record({{"allowed_axes", Numbers{1, 2}}}));

TEST_CASE("transpose axes: image and segmentation turn together", "[transforms]") {
  const Data data = data_of(2, {18, 18, 18}, 2);
  const Data out = apply(*all, record({{"axis_order", Numbers{0, 3, 1, 2}}}), data);
  const Data swapped = apply(*last, record({{"axis_order", Numbers{0, 1, 3, 2}}}), data);
  for (std::int64_t c = 0; c < 2; ++c)
    for (std::int64_t x = 0; x < 18; ++x)
      for (std::int64_t y = 0; y < 18; ++y)
        for (std::int64_t z = 0; z < 18; ++z) {
          REQUIRE(out.at(c, x, y, z) == data.at(c, y, z, x));
          REQUIRE(out.label(c, x, y, z) == data.label(c, y, z, x));
          REQUIRE(swapped.at(c, x, y, z) == data.at(c, x, z, y));
          REQUIRE(swapped.label(c, x, y, z) == data.label(c, x, z, y));
        }
}

TEST_CASE("transpose axes: axes of a 2D sample are those of its plane", "[transforms]") {
  const auto plane = make_transform("TransposeAxesTransform", record({{"allowed_axes", Numbers{0, 1}}}));
  const Data data = data_of(1, {1, 5, 5});
  CHECK(apply(*plane, record({{"axis_order", Numbers{0, 2, 1}}}), data, 2).at(0, 0, 1, 3) == data.at(0, 0, 3, 1));
  check_replay(*plane, data, 2);
}

TEST_CASE("transpose axes: every order as often, and the first one does nothing", "[transforms]") {
  int counts[4] = {};
  for (std::uint64_t seed = 0; seed < 3000; ++seed)
    ++counts[static_cast<int>(drawn(*all, {1, 1, {8, 8, 8}}, seed).numbers("axis_order")[1])];
  for (int axis = 1; axis < 4; ++axis) CHECK(counts[axis] == Catch::Approx(1000).margin(110));
  check_replay(*all, data_of(1, {6, 6, 6}));
  const auto parameters = all->new_parameters();
  all->restore(record({{"axis_order", Numbers{0, 1, 2, 3}}}), {1, 1, {8, 8, 8}}, *parameters);
  CHECK_FALSE(all->acts(*parameters));
}

TEST_CASE("transpose axes: axes that do not fit are named", "[transforms]") {
  CHECK_THROWS_AS(make_transform("TransposeAxesTransform", record({{"allowed_axes", Numbers{0, 3}}})), InvalidArgument);
  CHECK_THROWS_AS(make_transform("TransposeAxesTransform", record({{"allowed_axes", Numbers{1, 1}}})), InvalidArgument);
  CHECK_THROWS_AS(make_transform("TransposeAxesTransform", record({{"allowed_axes", 1.0}})), InvalidType);
  CHECK(last->after({1, 1, {4, 8, 8}}) == Geometry{1, 1, {4, 8, 8}});
  CHECK(
      has(message_of([] { all->after({1, 1, {4, 8, 8}}); }), "[TransposeAxesTransform] expected 'allowed_axes' along"));
  CHECK(has(message_of([] { all->after({1, 1, {1, 8, 8}, 2}); }), "'allowed_axes' below 2, got 2"));
  const Data data = data_of(1, {4, 6, 6});
  CHECK(has(message_of([&] { apply(*last, record({{"axis_order", Numbers{0, 2, 1, 3}}}), data); }), "of one size"));
  CHECK(has(message_of([&] { apply(*last, record({{"axis_order", Numbers{0, 2, 1}}}), data); }), "got 0, 2, 1"));
}

}  // namespace
}  // namespace fastnnunet::transforms
