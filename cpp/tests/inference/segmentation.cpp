#include "fastnnunet/inference/segmentation.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "message.h"

namespace fastnnunet::inference {
namespace {

using testing::has;
using testing::message_of;

struct Case {
  std::vector<float> values;  // (channels, shape)
  Logits logits;
};

// Two blobs that fade, and a class that is second everywhere.
Case blobs(std::int64_t channels, const Index3& shape) {
  Case c;
  for (std::int64_t channel = 0; channel < channels; ++channel)
    for (std::int64_t x = 0; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        for (std::int64_t z = 0; z < shape[2]; ++z) {
          const auto from = static_cast<float>((x - channel) * (x - channel) + (y - 2 * channel) * (y - channel) + z);
          c.values.push_back(channel == channels - 1 ? 1.0f : 5.0f - 0.7f * from);
        }
  c.logits = {nullptr, LogitType::float32, channels, shape, voxels(shape), shape[1] * shape[2], shape[2]};
  return c;
}

template <typename Label = std::uint8_t>
std::vector<Label> segmented(const Case& c, const SegmentationOptions& options,
                             const Probabilities* probabilities = nullptr) {
  Logits logits = c.logits;
  logits.data = c.values.data();
  std::vector<Label> out(static_cast<std::size_t>(voxels(options.image_shape)), Label{0});
  segmentation_from_logits(logits, options, out.data(), probabilities);
  return out;
}

SegmentationOptions options_for(const Index3& shape) { return {shape, -1, shape, {0, 0, 0}, {}, 1}; }

// The straight way: all eight neighbours of all channels in float64.
std::vector<std::uint8_t> straight(const Case& c, const Index3& to) {
  const Index3& from = c.logits.shape;
  std::vector<std::uint8_t> out;
  const auto at = [&](std::int64_t i, int axis) {
    const double position =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from[axis]) / static_cast<double>(to[axis]) - 0.5;
    return std::clamp(position, 0.0, static_cast<double>(from[axis] - 1));
  };
  for (std::int64_t x = 0; x < to[0]; ++x)
    for (std::int64_t y = 0; y < to[1]; ++y)
      for (std::int64_t z = 0; z < to[2]; ++z) {
        const double position[3] = {at(x, 0), at(y, 1), at(z, 2)};
        double best = -1e30;
        std::uint8_t winner = 0;
        for (std::int64_t channel = 0; channel < c.logits.channels; ++channel) {
          double sum = 0;
          for (int corner = 0; corner < 8; ++corner) {
            double weight = 1;
            Index3 voxel{};
            for (int axis = 0; axis < 3; ++axis) {
              const auto lower = static_cast<std::int64_t>(position[axis]);
              const double fraction = position[axis] - static_cast<double>(lower);
              const bool upper = ((corner >> axis) & 1) != 0;
              weight *= upper ? fraction : 1 - fraction;
              voxel[axis] = std::min(lower + (upper ? 1 : 0), from[axis] - 1);
            }
            sum += weight * static_cast<double>(c.values[static_cast<std::size_t>(
                                channel * voxels(from) + (voxel[0] * from[1] + voxel[1]) * from[2] + voxel[2])]);
          }
          if (sum > best + 1e-6) {
            best = sum;
            winner = static_cast<std::uint8_t>(channel);
          }
        }
        out.push_back(winner);
      }
  return out;
}

TEST_CASE("segmentation: as by interpolating everything", "[inference]") {
  for (const Index3 to : {Index3{13, 19, 80}, Index3{4, 5, 6}, Index3{7, 9, 40}, Index3{7, 9, 61}}) {
    const Case c = blobs(4, {7, 9, 40});
    const auto ours = segmented(c, options_for(to));
    const auto expected = straight(c, to);
    const auto equal = std::inner_product(ours.begin(), ours.end(), expected.begin(), std::ptrdiff_t{0}, std::plus<>(),
                                          std::equal_to<>());
    CAPTURE(to[0], to[1], to[2]);
    // Where two are nearly the same, either may be named.
    CHECK(std::ssize(ours) - equal <= std::ssize(ours) / 1000);
    CHECK(*std::max_element(ours.begin(), ours.end()) == 3);
  }
}

TEST_CASE("segmentation: threads do not matter", "[inference]") {
  const Case c = blobs(5, {7, 9, 40});
  for (const int separate : {-1, 0, 1, 2}) {
    SegmentationOptions options = options_for({17, 23, 70});
    options.separate = separate;
    const auto one = segmented(c, options);
    options.threads = 5;
    CHECK(segmented(c, options) == one);
  }
}

// Planes along an axis in pieces of some size, of an array that holds nothing else.
template <typename Label = std::uint8_t>
std::vector<Label> streamed(const Case& c, const SegmentationOptions& options, int along, std::int64_t piece,
                            const Probabilities* probabilities = nullptr) {
  std::vector<Label> out(static_cast<std::size_t>(voxels(options.image_shape)), Label{0});
  const Index3& shape = c.logits.shape;
  SegmentationStream<Label> stream(c.logits.channels, shape, along, options, out.data(), probabilities);
  for (std::int64_t end = piece;; end += piece) {
    const std::int64_t begin = stream.needed();
    end = std::min(end, shape[along]);
    Index3 lower{}, upper = shape;
    lower[along] = std::min(begin, end);
    upper[along] = end;
    Logits logits = c.logits;
    for (int axis = 0; axis < 3; ++axis) logits.shape[axis] = upper[axis] - lower[axis];
    std::vector<float> values;
    for (std::int64_t channel = 0; channel < logits.channels; ++channel)
      for (std::int64_t x = lower[0]; x < upper[0]; ++x)
        for (std::int64_t y = lower[1]; y < upper[1]; ++y)
          for (std::int64_t z = lower[2]; z < upper[2]; ++z)
            values.push_back(
                c.values[static_cast<std::size_t>(channel * voxels(shape) + (x * shape[1] + y) * shape[2] + z)]);
    logits.data = values.data();
    logits.channel_stride = voxels(logits.shape);
    logits.x_stride = logits.shape[1] * logits.shape[2];
    logits.y_stride = logits.shape[2];
    stream.add(logits, lower[along]);
    if (end == shape[along]) break;
  }
  CHECK(stream.complete());
  CHECK(stream.needed() == shape[along]);
  return out;
}

TEST_CASE("segmentation: slabs make what all logits at once make", "[inference]") {
  const Case c = blobs(4, {7, 9, 40});
  for (const Index3 to : {Index3{13, 19, 80}, Index3{3, 4, 6}, Index3{7, 9, 40}, Index3{1, 1, 1}, Index3{7, 20, 61}})
    for (const int separate : {-1, 0, 1, 2}) {
      SegmentationOptions options{to, separate, {20, 21, 90}, {3, 0, 5}, {}, 2};
      const auto at_once = segmented(c, options);
      for (const int along : {0, 1, 2})
        for (const std::int64_t piece : {1, 2, 3, 50}) {
          CAPTURE(to[0], to[1], to[2], separate, along, piece);
          CHECK(streamed(c, options, along, piece) == at_once);
        }
    }
}

TEST_CASE("segmentation: slabs write the same probabilities", "[inference]") {
  const Case c = blobs(3, {7, 9, 10});
  const Index3 image{20, 21, 22};
  for (const std::vector<std::int64_t>& regions : {std::vector<std::int64_t>{}, {2, 1, 3}}) {
    const SegmentationOptions options{{13, 5, 17}, -1, image, {3, 4, 5}, regions, 2};
    std::vector<float> once(static_cast<std::size_t>(3 * voxels(image)), -1.0f), slabs(once);
    const auto target = [&](std::vector<float>& values) {
      return Probabilities{values.data(), {voxels(image), image[1] * image[2], image[2], 1}};
    };
    const Probabilities of_once = target(once), of_slabs = target(slabs);
    segmented(c, options, &of_once);
    for (const int along : {0, 1, 2}) {
      std::fill(slabs.begin(), slabs.end(), -1.0f);
      streamed(c, options, along, 2, &of_slabs);
      CHECK(slabs == once);
    }
  }
}

TEST_CASE("segmentation: slabs that do not follow each other are refused", "[inference]") {
  const Case c = blobs(3, {6, 4, 4});
  std::vector<std::uint8_t> out(512);
  SegmentationStream<std::uint8_t> stream(3, {6, 4, 4}, 0, options_for({8, 8, 8}), out.data(), nullptr);
  Logits slab = c.logits;
  slab.data = c.values.data();
  slab.shape[0] = 2;
  CHECK(has(message_of([&] { stream.add(slab, 1); }), "expected planes from 0 on, of 6, got 1 to 3"));
  stream.add(slab, 0);
  CHECK(has(message_of([&] { stream.add(slab, 3); }), "expected planes from 1 on, of 6, got 3 to 5"));
  CHECK(has(message_of([&] { stream.add(slab, 5); }), "got 5 to 7"));
  CHECK(has(message_of([&] { stream.add(slab, -1); }), "got -1 to 1"));
  slab.shape[0] = 6;
  CHECK(has(message_of([&] { stream.add(slab, 1); }), "expected planes from 1 on, of 6, got 1 to 7"));
  slab.shape[0] = 2;
  for (const std::int64_t channels : {2, 4}) {
    slab.channels = channels;
    CHECK(has(message_of([&] { stream.add(slab, 1); }),
              "expected 3 channels of planes of (2, 4, 4), got " + std::to_string(channels)));
  }
  slab.channels = 3;
  slab.shape[1] = 3;
  CHECK(
      has(message_of([&] { stream.add(slab, 1); }), "expected 3 channels of planes of (2, 4, 4), got 3 of (2, 3, 4)"));
  CHECK_FALSE(stream.complete());
}

TEST_CASE("segmentation: pasted into the image, background around it", "[inference]") {
  const Case c = blobs(3, {4, 5, 6});
  const Index3 size{5, 6, 7}, image{9, 8, 10}, offset{2, 1, 3};
  const auto inner = segmented(c, options_for(size));
  std::vector<float> p(static_cast<std::size_t>(3 * voxels(image)), -1.0f);
  const Probabilities probabilities{p.data(), {voxels(image), image[1] * image[2], image[2], 1}};
  const auto out = segmented(c, {size, -1, image, offset, {}, 1}, &probabilities);
  for (std::int64_t x = 0, at = 0; x < image[0]; ++x)
    for (std::int64_t y = 0; y < image[1]; ++y)
      for (std::int64_t z = 0; z < image[2]; ++z, ++at) {
        const Index3 v{x - offset[0], y - offset[1], z - offset[2]};
        const bool inside = v[0] >= 0 && v[0] < 5 && v[1] >= 0 && v[1] < 6 && v[2] >= 0 && v[2] < 7;
        const auto expected = inside ? inner[static_cast<std::size_t>((v[0] * 6 + v[1]) * 7 + v[2])] : std::uint8_t{0};
        REQUIRE(out[static_cast<std::size_t>(at)] == expected);
        float sum = 0;
        for (std::int64_t channel = 0; channel < 3; ++channel) {
          const float probability = p[static_cast<std::size_t>(channel * voxels(image) + at)];
          sum += probability;
          if (!inside) REQUIRE(probability == (channel == 0 ? 1.0f : 0.0f));
        }
        REQUIRE(sum == Catch::Approx(1.0f));
      }
}

TEST_CASE("segmentation: a later region overwrites, labels beyond a byte", "[inference]") {
  Case c;
  c.values = {1, 1, -1, 1, -1, 2, -1, 0};
  c.logits = {nullptr, LogitType::float32, 2, {1, 1, 4}, 4, 4, 4};
  SegmentationOptions options = options_for({1, 1, 4});
  options.regions = {9, 500};
  CHECK(segmented<std::uint16_t>(c, options) == std::vector<std::uint16_t>{9, 500, 0, 9});
  std::vector<float> p(8);
  const Probabilities probabilities{p.data(), {4, 4, 4, 1}};
  CHECK(segmented<std::uint16_t>(c, options, &probabilities) == std::vector<std::uint16_t>{9, 500, 0, 9});
  CHECK(p[7] == 0.5f);
  CHECK(p[4] == Catch::Approx(0.2689414f));
}

TEST_CASE("segmentation: what cannot be is named", "[inference]") {
  const Case c = blobs(3, {2, 2, 2});
  const auto error = [&](auto change) {
    SegmentationOptions options = options_for({3, 3, 3});
    change(options);
    return message_of([&] { segmented(c, options); });
  };
  CHECK(has(
      error([](auto& o) { o.offset = {0, 1, 0}; }),
      "[logits_to_segmentation] expected the new shape to fit into the image of (3, 3, 3), got (3, 3, 3) at (0, 1"));
  CHECK(has(error([](auto& o) { o.new_shape = {0, 3, 3}; }), "expected sizes from 1 to 2^30, got (0, 3, 3)"));
  CHECK(has(error([](auto& o) { o.separate = 5; }), "expected axis None, 0, 1 or 2, got 5"));
  CHECK(has(error([](auto& o) { o.regions = {1, 2}; }), "expected a label for each of 3 regions, got 2"));
  CHECK(has(error([](auto& o) { o.regions = {1, 2, 256}; }), "expected labels from 0 to 255, got 256"));
  CHECK(has(error([](auto& o) { o.separate = -2; }), "expected axis None, 0, 1 or 2, got -2"));
  CHECK(has(error([](auto& o) { o.regions = {1, -1, 2}; }), "expected labels from 0 to 255, got -1"));
  CHECK(has(error([](auto& o) { o.offset = {0, 0, -1}; }), "got (3, 3, 3) at (0, 0, -1)"));
  const auto stream_error = [&](std::int64_t channels, const Index3& shape, int along) {
    std::uint8_t out[27] = {};
    return message_of(
        [&] { SegmentationStream<std::uint8_t>(channels, shape, along, options_for({3, 3, 3}), out, nullptr); });
  };
  for (const int along : {-1, 3})
    CHECK(has(stream_error(3, {2, 2, 2}, along), "expected planes along axis 0, 1 or 2, got " + std::to_string(along)));
  for (const std::int64_t channels : {0, -1})
    CHECK(has(stream_error(channels, {2, 2, 2}, 0), "expected at least one channel, got " + std::to_string(channels)));
  CHECK(has(stream_error(3, {2, 0, 2}, 0), "expected sizes from 1 to 2^30, got (2, 0, 2)"));
  // As many classes as a byte has numbers, and the highest label of a region.
  Case most{std::vector<float>(256, 0.0f), {nullptr, LogitType::float32, 256, {1, 1, 1}, 1, 1, 1}};
  most.values.back() = 1.0f;
  CHECK(segmented(most, options_for({1, 1, 1})) == std::vector<std::uint8_t>{255});
  SegmentationOptions highest = options_for({1, 1, 1});
  highest.regions = {255};
  CHECK(segmented({{1.0f}, {nullptr, LogitType::float32, 1, {1, 1, 1}, 1, 1, 1}}, highest) ==
        std::vector<std::uint8_t>{255});
  CHECK(has(message_of([&] { segmented(blobs(257, {1, 1, 1}), options_for({1, 1, 1})); }),
            "at most 256 classes, got 257"));
}

}  // namespace
}  // namespace fastnnunet::inference
