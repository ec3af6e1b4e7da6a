#include "fastnnunet/resampling/resize.h"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/base/text.h"
#include "message.h"

namespace fastnnunet::resampling {
namespace {

using testing::has;
using testing::message_of;

std::vector<float> smooth(const Index3& shape) {
  std::vector<float> image;
  for (std::int64_t x = 0; x < shape[0]; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t z = 0; z < shape[2]; ++z)
        image.push_back(std::sin(0.7f * static_cast<float>(x)) + std::cos(0.4f * static_cast<float>(y * z)));
  return image;
}

std::vector<float> resized(const std::vector<float>& image, const Index3& from, const Index3& to,
                           const ResizeOptions& options) {
  std::vector<float> out(static_cast<std::size_t>(voxels(to)));
  resize_image(image.data(), from, to, options, out.data());
  return out;
}

template <typename T>
std::vector<T> resized_labels(const std::vector<T>& labels, const Index3& from, const Index3& to,
                              const ResizeOptions& options) {
  std::vector<T> out(static_cast<std::size_t>(voxels(to)));
  resize_labels(labels.data(), from, to, options, out.data());
  return out;
}

TEST_CASE("resize: threads and the order of axes do not matter", "[resampling]") {
  const Index3 from{9, 70, 11};
  const std::vector<float> image = smooth(from);
  for (const Index3 to : {Index3{14, 75, 23}, Index3{5, 40, 130}, Index3{9, 70, 30}, Index3{3, 70, 11}})
    for (const int order : {0, 1, 3})
      for (const int separate : {-1, 0, 1, 2}) {
        CAPTURE(to[0], to[1], order, separate);
        const std::vector<float> one = resized(image, from, to, {order, separate, 0, 1});
        CHECK(one == resized(image, from, to, {order, separate, 0, 4}));
      }
}

TEST_CASE("resize: a constant stays what it is, the range is kept", "[resampling]") {
  const std::vector<float> constant(7 * 5 * 6, 0.1f);
  for (const int order : {0, 1, 3})
    for (const float value : resized(constant, {7, 5, 6}, {9, 4, 13}, {order, -1, 0, 1})) REQUIRE(value == 0.1f);
  std::vector<float> step(8, 0.0f);
  for (std::size_t i = 4; i < 8; ++i) step[i] = 1.0f;
  for (const float value : resized(step, {1, 1, 8}, {1, 1, 31}, {})) {
    CHECK(value >= 0.0f);
    CHECK(value <= 1.0f);
  }
}

TEST_CASE("resize: NaN takes a cubic image, and only its own slice", "[resampling]") {
  const Index3 from{4, 6, 7}, to{8, 9, 10};
  std::vector<float> image = smooth(from);
  image[6 * 7 + 3] = std::numeric_limits<float>::quiet_NaN();
  for (const float value : resized(image, from, to, {})) REQUIRE(std::isnan(value));
  const std::vector<float> slices = resized(image, from, to, {3, 0, 0, 1});
  for (std::size_t i = 0; i < slices.size(); ++i) REQUIRE(std::isnan(slices[i]) == (i / 90 == 2 || i / 90 == 3));
}

TEST_CASE("resize: an infinity reaches its neighbours, and no other voxel", "[resampling]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Index3 from{4, 5, 70}, to{6, 8, 100};
  const std::vector<float> image = smooth(from);
  for (const float value : {kInfinity, -kInfinity})
    for (const int order : {0, 1})
      for (const int separate : {-1, 0, 1, 2}) {
        CAPTURE(value, order, separate);
        std::vector<float> infinite = image;
        infinite[static_cast<std::size_t>((2 * 5 + 3) * 70 + 40)] = value;
        const ResizeOptions options{order, separate, 0, 1};
        const std::vector<float> out = resized(infinite, from, to, options),
                                 without = resized(image, from, to, options);
        int reached = 0;
        for (std::size_t i = 0; i < out.size(); ++i) {
          const std::int64_t z = static_cast<std::int64_t>(i) % 100;
          reached += out[i] == value;
          // The level that small differences are counted from is another one.
          if (z < 54 || z > 60) REQUIRE(out[i] == Catch::Approx(without[i]).margin(1e-5));
        }
        CHECK(reached > 0);
      }
}

TEST_CASE("resize: each slice has a range of its own", "[resampling]") {
  std::vector<float> image(2 * 4 * 4, 1.0f);
  for (std::size_t i = 16; i < 32; ++i) image[i] = i % 2 == 0 ? 5.0f : 9.0f;
  const std::vector<float> out = resized(image, {2, 4, 4}, {4, 9, 9}, {3, 0, 0, 1});
  for (std::size_t i = 0; i < out.size(); ++i) {
    CHECK(out[i] >= (i < 2 * 81 ? 1.0f : 5.0f));
    CHECK(out[i] <= (i < 2 * 81 ? 1.0f : 9.0f));
  }
}

TEST_CASE("resize: labels are never mixed", "[resampling]") {
  const std::vector<std::int16_t> labels = {0, 0, 2, 2, 2, -1, 300, 300};
  const std::vector<std::int16_t> out = resized_labels(labels, {1, 1, 8}, {1, 1, 24}, {1, -1, 0, 1});
  for (std::size_t i = 0; i < 24; ++i) CHECK(out[i] == labels[i / 3]);
}

TEST_CASE("resize: labels that tie go to the nearest voxel, else to the lowest", "[resampling]") {
  // Every voxel lies in the middle of two: halves go up.
  CHECK(resized_labels<std::uint8_t>({1, 2, 9, 4}, {1, 1, 4}, {1, 1, 2}, {1, -1, 0, 1}) ==
        std::vector<std::uint8_t>{2, 4});
  // In the middle of eight, 1 and 2 have three each; the nearest is a 3, which has two.
  CHECK(resized_labels<std::int32_t>({3, 1, 1, 1, 2, 2, 2, 3}, {2, 2, 2}, {1, 1, 1}, {1, -1, 0, 1}) ==
        std::vector<std::int32_t>{1});
  CHECK(resized_labels<std::int32_t>({3, -1, -1, -1, 2, 2, 2, 2}, {2, 2, 2}, {1, 1, 1}, {1, -1, 0, 1}) ==
        std::vector<std::int32_t>{2});
}

TEST_CASE("resize: slices of labels on their own", "[resampling]") {
  const std::vector<float> labels = {1, 1, 2, 2, 7, 7, 7, 7};
  const std::vector<float> out = resized_labels(labels, {2, 1, 4}, {3, 1, 8}, {1, 0, 0, 1});
  for (std::size_t i = 0; i < 24; ++i) CHECK(out[i] == (i < 4 ? 1.0f : i < 8 ? 2.0f : 7.0f));
}

TEST_CASE("resize: what cannot be is named", "[resampling]") {
  std::vector<float> image(8);
  const auto image_error = [&](const Index3& from, const Index3& to, const ResizeOptions& options) {
    return message_of([&] { resize_image(image.data(), from, to, options, image.data()); });
  };
  CHECK(has(image_error({2, 2, 0}, {2, 2, 2}, {}), "[resample] expected sizes from 1 to 2^30, got (2, 2, 0)"));
  // Neither the old nor the new size may be beyond what 32 bits count, along any axis.
  for (int axis = 0; axis < 3; ++axis)
    for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-1}, (std::int64_t{1} << 30) + 1}) {
      Index3 wrong{2, 2, 2};
      wrong[axis] = size;
      CHECK(has(image_error(wrong, {2, 2, 1}, {}), "expected sizes from 1 to 2^30, got " + base::text(wrong)));
      CHECK(has(image_error({2, 2, 2}, wrong, {}), "expected sizes from 1 to 2^30, got " + base::text(wrong)));
    }
  CHECK(has(image_error({2, 2, 2}, {2, 2, 1}, {3, -2, 0, 1}), "axis None, 0, 1 or 2, got -2"));
  CHECK(has(image_error({2, 2, 2}, {2, 2, 1}, {2, -1, 0, 1}), "order and order_z to be 0, 1 or 3, got 2"));
  CHECK(has(image_error({2, 2, 2}, {2, 2, 1}, {3, 0, 4, 1}), "order and order_z to be 0, 1 or 3, got 4"));
  CHECK(has(image_error({2, 2, 2}, {2, 2, 1}, {3, 3, 0, 1}), "axis None, 0, 1 or 2, got 3"));
  CHECK(has(image_error({2, 2, 2}, {2, 2, 1}, {3, -1, 0, 0}), "at least one thread, got 0"));
  const auto label_error = [&](const ResizeOptions& options) {
    return message_of([&] { resize_labels(image.data(), {2, 2, 2}, {1, 2, 2}, options, image.data()); });
  };
  CHECK(has(label_error({3, -1, 0, 1}), "order 0 or 1 for a segmentation, got 3"));
  CHECK(has(label_error({1, 2, 1, 1}), "order_z 0 for a segmentation, got 1"));
}

}  // namespace
}  // namespace fastnnunet::resampling
