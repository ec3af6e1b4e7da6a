#include <cmath>

#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

std::unique_ptr<Transform> made(const Numbers& ids, const char* source, const char* target) {
  return make_transform(
      "MoveChannelsTransform",
      record({{"channel_ids", ids}, {"source_key", std::string(source)}, {"target_key", std::string(target)}}));
}

std::vector<std::int16_t> labels_of(const Data& data, std::int64_t c) {
  return {data.labels.begin() + c * voxels(data.shape), data.labels.begin() + (c + 1) * voxels(data.shape)};
}

TEST_CASE("move channels: segmentation to image, in ascending order behind the image's own", "[transforms]") {
  const Data data = data_of(2, {4, 5, 6}, 4);
  const auto move = made({-1, 1, 3}, "segmentation", "image");
  CHECK(move->after(geometry_of(data)) == Geometry{4, 2, data.shape});
  const Data out = apply(*move, Record("MoveChannelsTransform"), data);
  REQUIRE(out.channels() == 4);
  for (std::int64_t c = 0; c < 2; ++c) CHECK(out.channel(c) == data.channel(c));
  for (const std::int64_t c : {1, 3}) {
    const auto moved = labels_of(data, c);
    CHECK(out.channel(c == 1 ? 2 : 3) == std::vector<float>(moved.begin(), moved.end()));
  }
  REQUIRE(out.label_channels() == 2);
  CHECK(labels_of(out, 0) == labels_of(data, 0));
  CHECK(labels_of(out, 1) == labels_of(data, 2));
}

TEST_CASE("move channels: image to segmentation, where it holds labels", "[transforms]") {
  Data data = data_of(3, {4, 5, 6}, 2);
  const auto move = made({0}, "image", "segmentation");
  CHECK(move->after(geometry_of(data)) == Geometry{2, 3, data.shape});
  CHECK(has(message_of([&] { apply(*move, Record("MoveChannelsTransform"), data); }),
            "[MoveChannelsTransform] expected whole numbers"));
  for (std::size_t i = 0; i < 120; ++i) data.image[i] = static_cast<float>(i) * 273 - 32768;
  const Data out = apply(*move, Record("MoveChannelsTransform"), data);
  CHECK(out.channel(0) == data.channel(1));
  CHECK(out.channel(1) == data.channel(2));
  for (std::int64_t c = 0; c < 2; ++c) CHECK(labels_of(out, c) == labels_of(data, c));
  const auto moved = labels_of(out, 2);
  CHECK(std::vector<float>(moved.begin(), moved.end()) == data.channel(0));
  for (const float wrong : {32768.0f, -32769.0f, 0.5f, std::nanf(""), INFINITY}) {
    data.image[7] = wrong;
    CHECK_THROWS_AS(apply(*move, Record("MoveChannelsTransform"), data), InvalidArgument);
  }
}

TEST_CASE("move channels: to where they are, they are lost", "[transforms]") {
  const Data data = data_of(3, {4, 5, 6}, 2);
  const Data out = apply(*made({1}, "image", "image"), Record("MoveChannelsTransform"), data);
  REQUIRE(out.channels() == 2);
  CHECK(out.channel(1) == data.channel(2));
  CHECK(out.labels == data.labels);
}

TEST_CASE("move channels: channels that do not fit are named", "[transforms]") {
  const auto refused = [](const Numbers& ids, const Geometry& geometry) {
    return message_of([&] { made(ids, "segmentation", "image")->after(geometry); });
  };
  CHECK(has(refused({2}, {1, 2, {4, 5, 6}}), "'channel_ids' below 2, got 2"));
  CHECK(has(refused({0, 1}, {1, 2, {4, 5, 6}}), "'channel_ids' that leave a channel"));
  CHECK(has(refused({0}, {1, 0, {4, 5, 6}}), "a sample with a segmentation"));
  CHECK(has(refused({0}, {8, 8, {1, 5, 6}, 2, 4}), "Convert3DTo2DTransform"));
  CHECK(has(message_of([] { made({0}, "image", "bbox"); }), "'target_key' image or segmentation, got bbox"));
}

TEST_CASE("move channels: within the image no segmentation is needed", "[transforms]") {
  Data data = data_of(3, {4, 5, 6});
  data.labels.clear();
  CHECK(made({1}, "image", "image")->after({3, 0, data.shape}) == Geometry{2, 0, data.shape});
  const Data out = apply(*made({0, -1}, "image", "image"), Record("MoveChannelsTransform"), data);
  CHECK(out.image == data.channel(1));
}

}  // namespace
}  // namespace fastnnunet::transforms
