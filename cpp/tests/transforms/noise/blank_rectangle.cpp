#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> blank(const Rows& sizes, bool square, Record::Value value, Record::Value statistic,
                                 const Numbers& number = {1, 4}) {
  return make_transform("BlankRectangleTransform", record({{"rectangle_size", sizes},
                                                           {"square", square},
                                                           {"rectangle_value", std::move(value)},
                                                           {"statistic", std::move(statistic)},
                                                           {"num_rectangles", number},
                                                           {"p_per_channel", 0.5}}));
}

const Rows sizes{{1, 3}, {2, 4}, {1, 5}};

Record parameters(const Numbers& values = {}) {
  return record({{"apply_channel", Numbers{0, 1}},
                 {"channels", Numbers{1}},
                 {"lower", Rows{{1, 2, 3}}},
                 {"upper", Rows{{3, 5, 7}}},
                 {"values", values}});
}

bool inside(std::int64_t x, std::int64_t y, std::int64_t z) {
  return x >= 1 && x < 3 && y >= 2 && y < 5 && z >= 3 && z < 7;
}

TEST_CASE("blank rectangle: fills the box and nothing else", "[transforms]") {
  const Data data = data_of(2, {6, 7, 8});
  const Data out = apply(*blank(sizes, false, Scalar::range(0, 1), {}), parameters({0.25}), data);
  check_only_channel(data, out, 1);
  for (std::int64_t x = 0; x < 6; ++x)
    for (std::int64_t y = 0; y < 7; ++y)
      for (std::int64_t z = 0; z < 8; ++z)
        REQUIRE(out.at(1, x, y, z) == (inside(x, y, z) ? 0.25f : data.at(1, x, y, z)));
}

TEST_CASE("blank rectangle: with a statistic of the voxels that it hides", "[transforms]") {
  const Data data = data_of(2, {6, 7, 8});
  std::vector<float> hidden;
  for (std::int64_t x = 1; x < 3; ++x)
    for (std::int64_t y = 2; y < 5; ++y)
      for (std::int64_t z = 3; z < 7; ++z) hidden.push_back(data.at(1, x, y, z));
  std::sort(hidden.begin(), hidden.end());
  const std::pair<const char*, double> expected[] = {{"mean", mean_of(hidden)},
                                                     {"median", hidden[11]},
                                                     {"numpy_median", (hidden[11] + hidden[12]) / 2},
                                                     {"minimum", hidden[0]},
                                                     {"maximum", hidden[23]}};
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    const Data out = apply(*blank(sizes, false, {}, std::string(name)), parameters(), data);
    CHECK(out.at(1, 1, 2, 3) == Catch::Approx(value));
    CHECK(out.at(1, 2, 4, 6) == out.at(1, 1, 2, 3));
  }
}

TEST_CASE("blank rectangle: boxes lie inside the image, sizes in their ranges", "[transforms]") {
  const auto check = [](const Record& p, bool square, int dims) {
    const Rows &lower = p.rows("lower"), &upper = p.rows("upper");
    REQUIRE(lower.size() == p.numbers("channels").size());
    for (std::size_t i = 0; i < lower.size(); ++i) {
      REQUIRE(std::ssize(lower[i]) == dims);
      REQUIRE(p.numbers("apply_channel")[static_cast<std::size_t>(p.numbers("channels")[i])] == 1);
      for (std::size_t axis = 0; axis < lower[i].size(); ++axis) {
        const double size = upper[i][axis] - lower[i][axis];
        const Numbers& range = sizes[square ? 0 : axis];
        REQUIRE((lower[i][axis] >= 0 && upper[i][axis] <= 5 && size >= range[0] && size <= range[1]));
        if (square) REQUIRE(size == upper[i][0] - lower[i][0]);
      }
    }
  };
  for (std::uint64_t seed = 0; seed < 300; ++seed)
    for (const bool square : {false, true}) {
      const auto transform = blank(sizes, square, Scalar::constant(1), {});
      check(drawn(*transform, {3, 1, {5, 5, 5}}, seed), square, 3);
      check(drawn(*transform, {3, 1, {1, 5, 5}, 2}, seed), square, 2);
    }
  check_replay(*blank(sizes, false, Scalar::range(0, 1), {}), data_of(2, {6, 7, 8}));
  check_replay(*blank(sizes, false, {}, std::string("mean")), data_of(2, {1, 7, 8}), 2);
}

TEST_CASE("blank rectangle: what does not fit is named", "[transforms]") {
  const auto refused = [](const Rows& size, const Numbers& number) {
    return message_of([&] { blank(size, false, Scalar::constant(1), {}, number); });
  };
  CHECK(has(refused({{-1, 3}}, {1, 2}), "[BlankRectangleTransform] expected 'rectangle_size' of whole pairs"));
  CHECK(has(refused({}, {1, 2}), "'rectangle_size' with a pair for each axis"));
  CHECK(has(refused(sizes, {2, 1}), "'num_rectangles' of two numbers"));
  CHECK(has(message_of([] { blank(sizes, false, {}, std::string("mode")); }), "'statistic' to be mean"));
  const auto transform = blank({{9, 9}}, true, Scalar::constant(1), {});
  CHECK(has(message_of([&] {
              for (std::uint64_t seed = 0; seed < 10; ++seed) drawn(*transform, {3, 1, {5, 5, 5}}, seed);
            }),
            "'rectangle_size' of at most the image's 5 voxels along axis 0, got 9"));
  CHECK(has(message_of([&] { apply(*transform, parameters({1, 2}), data_of(2, {6, 7, 8})); }),
            "'values' for each of 1 rectangles, or none, got 2"));
  CHECK(has(message_of([&] { apply(*transform, parameters(), data_of(2, {6, 7, 6})); }),
            "a rectangle inside the image's 6 voxels"));
}

TEST_CASE("blank rectangle: an extreme of no voxels is refused, and nothing else is of none", "[transforms]") {
  const Data data = data_of(2, {6, 7, 8});
  Record empty = parameters();
  empty.set("upper", Rows{{3, 5, 3}});
  for (const char* name : {"minimum", "maximum"})
    CHECK(has(message_of([&] { apply(*blank(sizes, false, {}, std::string(name)), empty, data); }),
              "a rectangle with voxels, for their extreme, got an empty one"));
  for (const char* name : {"mean", "median", "numpy_median"})
    CHECK(apply(*blank(sizes, false, {}, std::string(name)), empty, data).image == data.image);
}

TEST_CASE("blank rectangle: memory for the largest rectangle, and for none without a statistic", "[transforms]") {
  const Geometry geometry{2, 1, {6, 7, 4}};
  const auto bytes = [&](const Rows& range, bool square, Record::Value statistic) {
    return blank(range, square, Scalar::constant(1), std::move(statistic))->scratch_bytes(geometry)[0];
  };
  CHECK(bytes(sizes, false, std::string("mean")) == 3 * 4 * 4 * sizeof(float));  // the last axis has 4 voxels only
  CHECK(bytes({{1, 5}}, true, std::string("median")) == 5 * 5 * 4 * sizeof(float));
  CHECK(bytes(sizes, false, std::monostate{}) == 0);
}

TEST_CASE("blank rectangle: each rectangle has a value of its own", "[transforms]") {
  const auto transform = blank(sizes, false, Scalar::range(0, 1), {}, {4, 4});
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Numbers values = drawn(*transform, {3, 1, {5, 5, 5}}, seed).numbers("values");
    std::sort(values.begin(), values.end());
    CHECK(std::adjacent_find(values.begin(), values.end()) == values.end());
  }
}

}  // namespace
}  // namespace fastnnunet::transforms
