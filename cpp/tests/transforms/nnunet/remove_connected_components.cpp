#include <algorithm>

#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

constexpr const char* kRemove = "RemoveRandomConnectedComponentFromOneHotEncodingTransform";

std::unique_ptr<Transform> remover(double largest_share = 0.15) {
  return make_transform(kRemove, record({{"channel_idx", Numbers{-2, -1}},
                                         {"fill_with_other_class_p", 0.5},
                                         {"dont_do_if_covers_more_than_x_percent", largest_share},
                                         {"p_per_label", 0.5}}));
}

Record parameters(double component, bool fill = false) {
  return record({{"apply_to_channels", Numbers{-1}},
                 {"component_u", Numbers{component}},
                 {"fill", Numbers{fill ? 1.0 : 0.0}},
                 {"other_u", Numbers{0.7}}});
}

// Three components in the last channel, in the order of their first voxels: a line that turns a corner by touching only
// there, a single voxel, a cube of 27.
Data three_components() {
  Data data = data_of(3, {10, 10, 10});
  std::fill(data.image.begin() + 1000, data.image.end(), 0.0f);
  const auto set = [&](int x, int y, int z) {
    data.image[static_cast<std::size_t>(2000 + (x * 10 + y) * 10 + z)] = 1.0f;
  };
  for (const int z : {4, 5, 6}) set(0, 0, z);
  for (const int x : {1, 2, 3}) set(x, 1, 7);  // (0, 0, 6) and (1, 1, 7) share a corner
  set(0, 5, 0);
  for (int i = 0; i < 27; ++i) set(5 + i / 9, 5 + i / 3 % 3, 5 + i % 3);
  return data;
}

int sum(const std::vector<float>& values) {
  int total = 0;
  for (const float value : values) total += static_cast<int>(value);
  return total;
}

TEST_CASE("remove component: the number chooses in the order of first voxels", "[transforms]") {
  const Data data = three_components();
  REQUIRE(sum(data.channel(2)) == 34);
  const int left[] = {34 - 6, 34 - 1, 34 - 27};
  for (int i = 0; i < 3; ++i) {
    CAPTURE(i);
    const Data out = apply(*remover(), parameters((i + 0.5) / 3), data);
    CHECK(sum(out.channel(2)) == left[i]);
    CHECK(out.channel(0) == data.channel(0));
    CHECK(sum(out.channel(1)) == 0);
  }
}

TEST_CASE("remove component: another class may take its place", "[transforms]") {
  const Data data = three_components();
  const Data out = apply(*remover(), parameters(0.9, true), data);
  CHECK(sum(out.channel(2)) == 34 - 27);
  CHECK(sum(out.channel(1)) == 27);
  CHECK(out.at(1, 6, 6, 6) == 1.0f);
}

TEST_CASE("remove component: large components stay", "[transforms]") {
  const Data data = three_components();
  // Below 0.6 % of 1000 voxels there is the single voxel only: 6 is not below 6.
  for (const double u : {0.0, 0.99}) CHECK(sum(apply(*remover(0.006), parameters(u), data).channel(2)) == 33);
  CHECK(apply(*remover(0.001), parameters(0.5), data).image == data.image);
}

TEST_CASE("remove component: runs that meet late are one component", "[transforms]") {
  // A comb: teeth along X are joined by the last row only; then a U in the plane of Y and Z.
  Data data = data_of(3, {6, 9, 9});
  std::fill(data.image.begin() + 486, data.image.end(), 0.0f);
  const auto set = [&](int x, int y, int z) { data.image[static_cast<std::size_t>(972 + (x * 9 + y) * 9 + z)] = 1.0f; };
  int count = 0;
  for (int z = 0; z < 9; z += 2)
    for (int x = 0; x < 5; ++x, ++count) set(x, 4, z);
  for (int z = 0; z < 9; ++z, ++count) set(5, 4, z);
  REQUIRE(sum(data.channel(2)) == count);
  CHECK(sum(apply(*remover(), parameters(0.99), data).channel(2)) == 0);
}

TEST_CASE("remove component: parameters", "[transforms]") {
  const auto transform = remover();
  int chosen = 0, filled = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Record p = drawn(*transform, {3, 1, {4, 4, 4}}, seed);
    chosen += static_cast<int>(p.numbers("apply_to_channels").size());
    for (const double fill : p.numbers("fill")) filled += fill != 0;
  }
  CHECK(chosen == Catch::Approx(1000).margin(90));
  CHECK(filled == Catch::Approx(500).margin(75));
  check_replay(*transform, three_components());
  Record wrong = parameters(0.5);
  wrong.set("component_u", Numbers{1.0});
  CHECK(has(message_of([&] { apply(*transform, wrong, three_components()); }), "component_u"));
  wrong.set("component_u", Numbers{});
  CHECK(has(message_of([&] { apply(*transform, wrong, three_components()); }), "1 channels"));
}

TEST_CASE("remove component: one channel without a candidate does not stop the others", "[transforms]") {
  const Data data = three_components();  // none in channel 1
  const Record both = record({{"apply_to_channels", Numbers{-2, -1}},
                              {"component_u", Numbers{0.5, 0.9}},
                              {"fill", Numbers{1, 0}},
                              {"other_u", Numbers{0, 0}}});
  CHECK(sum(apply(*remover(), both, data).channel(2)) == 34 - 27);
}

TEST_CASE("remove component: the other class is any of the others, and none where there is none", "[transforms]") {
  const auto made = [](const Numbers& channels) {
    return make_transform(kRemove, record({{"channel_idx", channels},
                                           {"fill_with_other_class_p", 1.0},
                                           {"dont_do_if_covers_more_than_x_percent", 0.15},
                                           {"p_per_label", 1.0}}));
  };
  const Data data = three_components();
  for (const double u : {0.0, 0.49, 0.51, 0.999}) {
    CAPTURE(u);
    Record p = parameters(0.9, true);
    p.set("other_u", Numbers{u});
    const Data out = apply(*made({0, 1, -1}), p, data);
    CHECK(sum(out.channel(2)) == 34 - 27);
    CHECK((out.at(0, 6, 6, 6) == 1.0f) == (u < 0.5));
    CHECK((out.at(1, 6, 6, 6) == 1.0f) == (u > 0.5));
  }
  const Data alone = apply(*made({-1}), parameters(0.9, true), data);
  CHECK(sum(alone.channel(2)) == 34 - 27);
  CHECK(alone.channel(0) == data.channel(0));
  CHECK(alone.channel(1) == data.channel(1));
  // Channels come in any order: what one takes from another depends on it.
  int first = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed)
    first += drawn(*made({1, 2}), {3, 1, {4, 4, 4}}, seed).numbers("apply_to_channels")[0] == 1;
  CHECK(first == Catch::Approx(200).margin(50));
}

}  // namespace
}  // namespace fastnnunet::transforms
