#include "transforms/intensity.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> median(const Numbers& range = {2, 7}, double p_same = 0) {
  return make_transform("MedianFilterTransform",
                        record({{"filter_size", range}, {"p_same_for_each_channel", p_same}, {"p_per_channel", 0.5}}));
}

Record parameters(double size) {
  return record({{"apply_channel", Numbers{0, 1}}, {"filter_sizes", Numbers{5, size}}});
}

// The voxel behind a border is the one before it, mirrored.
std::int64_t mirrored(std::int64_t at, std::int64_t size) {
  while (at < 0 || at >= size) at = at < 0 ? -1 - at : 2 * size - 1 - at;
  return at;
}

float median_at(const Data& data, std::int64_t x, std::int64_t y, std::int64_t z, std::int64_t size, int dims) {
  std::vector<float> values;
  for (std::int64_t dx = 0; dx < (dims == 3 ? size : 1); ++dx)
    for (std::int64_t dy = 0; dy < size; ++dy)
      for (std::int64_t dz = 0; dz < size; ++dz)
        values.push_back(data.at(1, mirrored(x + dx - (dims == 3 ? size / 2 : 0), data.shape[0]),
                                 mirrored(y + dy - size / 2, data.shape[1]),
                                 mirrored(z + dz - size / 2, data.shape[2])));
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

void check(const Data& data, std::int64_t size, int dims) {
  CAPTURE(data.shape, size, dims);
  const Data out = apply(*median(), parameters(static_cast<double>(size)), data, dims);
  CHECK(out.channel(0) == data.channel(0));
  CHECK(out.labels == data.labels);
  bool same = true;
  for (std::int64_t x = 0; x < data.shape[0]; ++x)
    for (std::int64_t y = 0; y < data.shape[1]; ++y)
      for (std::int64_t z = 0; z < data.shape[2]; ++z)
        same = same && out.at(1, x, y, z) == median_at(data, x, y, z, size, dims);
  CHECK(same);
}

TEST_CASE("median filter: is the middle of the sorted window", "[transforms]") {
  for (std::int64_t size = 1; size <= 8; ++size) {
    for (const Index3& shape : {Index3{6, 7, 19}, Index3{1, 5, 40}, Index3{3, 1, 1}}) check(data_of(2, shape), size, 3);
    for (const Index3& shape : {Index3{1, 7, 37}, Index3{1, 1, 3}}) check(data_of(2, shape), size, 2);
  }
  Data whole = data_of(2, {6, 7, 19});
  for (float& value : whole.image) value = std::round(value);
  for (std::int64_t size = 2; size <= 5; ++size) check(whole, size, 3);
}

TEST_CASE("median filter: tiles meet without a seam", "[transforms]") {
  check(data_of(2, {40, 41, 50}), 3, 3);
  check(data_of(2, {2, 3, 700}), 4, 3);
  check(data_of(2, {1, 270, 300}), 5, 2);
}

TEST_CASE("median filter: draws sizes for each channel or one for all", "[transforms]") {
  bool seen[8] = {};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Numbers same = drawn(*median({2, 7}, 1), {2, 1, {4, 4, 4}}, seed).numbers("filter_sizes");
    REQUIRE(same[0] == same[1]);
    const Numbers own = drawn(*median(), {2, 1, {4, 4, 4}}, seed).numbers("filter_sizes");
    for (const double size : own) {
      REQUIRE((size >= 2 && size <= 7));
      seen[static_cast<std::size_t>(size)] = true;
    }
  }
  CHECK(std::count(seen, seen + 8, true) == 6);
  check_replay(*median(), data_of(2, {6, 7, 8}));
}

TEST_CASE("median filter: what does not fit is named", "[transforms]") {
  CHECK(has(message_of([] { median({0, 3}); }), "[MedianFilterTransform] expected a filter size between 1 and 100"));
  CHECK(has(message_of([] { median({4, 3}); }), "'filter_size' of two numbers, the lower one first"));
  CHECK(has(message_of([] { apply(*median(), parameters(0), data_of(2, {4, 4, 4})); }), "a filter size between 1"));
  CHECK(has(message_of([] { apply(*median(), parameters(3), data_of(3, {4, 4, 4})); }), "for each of 3 channels"));
}

TEST_CASE("median filter: channels have nothing to do with each other", "[transforms]") {
  // A size that does nothing, or a NaN, in one of them, first or last.
  for (const Numbers& sizes : {Numbers{1, 3, 4}, Numbers{4, 1, 3}, Numbers{3, 4, 1}, Numbers{2, 1, 1}})
    for (const std::size_t broken : {0u, 1u, 2u}) {
      Data data = data_of(3, {6, 7, 8});
      data.image[broken * 336 + 100] = std::nanf("");
      const auto one = [](std::int64_t c, double size) {
        Numbers alone(3, 1.0);
        alone[static_cast<std::size_t>(c)] = size;
        return record({{"apply_channel", Numbers{1, 1, 1}}, {"filter_sizes", alone}});
      };
      const Data out = apply(*median(), record({{"apply_channel", Numbers{1, 1, 1}}, {"filter_sizes", sizes}}), data);
      for (std::int64_t c = 0; c < 3; ++c) {
        CAPTURE(sizes, broken, c);
        const auto found = out.channel(c);
        const auto expected = apply(*median(), one(c, sizes[static_cast<std::size_t>(c)]), data).channel(c);
        CHECK(std::equal(found.begin(), found.end(), expected.begin(),
                         [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }));
        if (static_cast<std::size_t>(c) != broken)
          CHECK_FALSE(std::any_of(found.begin(), found.end(), [](float v) { return std::isnan(v); }));
        if (sizes[static_cast<std::size_t>(c)] > 1 && static_cast<std::size_t>(c) != broken)
          CHECK(found != data.channel(c));
      }
    }
  // Two is the least size that does anything, 100 the largest.
  const auto restored = median()->new_parameters();
  median()->restore(record({{"apply_channel", Numbers{0, 1}}, {"filter_sizes", Numbers{5, 2}}}), {2, 1, {6, 7, 8}},
                    *restored);
  CHECK(median()->acts(*restored));
  CHECK(message_of([] { median({100, 100}); }) == "");
  CHECK(has(message_of([] { median({100, 101}); }), "between 1 and 100, got 101"));
}

TEST_CASE("median filter: memory for the largest size, whichever is drawn", "[transforms]") {
  for (const Geometry& geometry : {Geometry{2, 1, {6, 7, 19}}, Geometry{1, 1, {1, 30, 40}, 2}})
    for (double size = 2; size <= 7; ++size) {
      const auto range = median({2, 7})->scratch_bytes(geometry), one = median({size, size})->scratch_bytes(geometry);
      for (std::size_t i = 0; i < range.size(); ++i) CHECK(range[i] >= one[i]);
    }
}

}  // namespace
}  // namespace fastnnunet::transforms
