// Transforms that leave nothing to chance: MaskImage, RemoveLabel, MoveSegAsOneHotToData, ConvertSegmentationToRegions,
// DownsampleSegForDS and the pseudo-2D pair.
#include <algorithm>

#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

TEST_CASE("mask image: zero outside of the nonzero region, in the channels named", "[transforms]") {
  const auto mask =
      make_transform("MaskImageTransform",
                     record({{"apply_to_channels", Numbers{1}}, {"channel_idx_in_seg", 0.0}, {"set_outside_to", 0.0}}));
  const Data data = data_of(2, {5, 6, 7});
  const Data out = apply(*mask, record({}), data);
  CHECK(out.channel(0) == data.channel(0));
  for (std::size_t i = 0; i < 210; ++i)
    REQUIRE(out.image[210 + i] == (data.labels[i] < 0 ? 0.0f : data.image[210 + i]));
  CHECK(has(message_of([&] { apply(*mask, record({}), data_of(1, {4, 4, 4})); }), "apply_to_channels"));
}

TEST_CASE("remove label: one label becomes another", "[transforms]") {
  const auto remove =
      make_transform("RemoveLabelTransform",
                     record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}}));
  const Data data = data_of(1, {5, 6, 7}, 2);
  const Data out = apply(*remove, record({}), data);
  for (std::size_t i = 0; i < data.labels.size(); ++i)
    REQUIRE(out.labels[i] == std::max<std::int16_t>(data.labels[i], 0));
}

TEST_CASE("move segmentation: the previous stage becomes image channels", "[transforms]") {
  const auto move = make_transform(
      "MoveSegAsOneHotToDataTransform",
      record({{"source_channel_idx", 1.0}, {"all_labels", Numbers{1, 3}}, {"remove_channel_from_source", true}}));
  const Data data = data_of(1, {5, 6, 7}, 2);
  CHECK(move->after(geometry_of(data)).image_channels == 3);
  CHECK(move->after(geometry_of(data)).segmentation_channels == 1);
  const Data out = apply(*move, record({}), data);
  REQUIRE(out.channels() == 3);
  REQUIRE(out.label_channels() == 1);
  CHECK(out.channel(0) == data.image);
  for (std::size_t i = 0; i < 210; ++i) {
    REQUIRE(out.image[210 + i] == (data.labels[210 + i] == 1 ? 1.0f : 0.0f));
    REQUIRE(out.image[420 + i] == (data.labels[210 + i] == 3 ? 1.0f : 0.0f));
    REQUIRE(out.labels[i] == data.labels[i]);
  }
  CHECK(has(message_of([&] { apply(*move, record({}), data_of(1, {4, 4, 4}, 1)); }), "source_channel_idx"));
}

TEST_CASE("labels: channels count from the end too, and what is no label is refused", "[transforms]") {
  const Data data = data_of(2, {5, 6, 7}, 2);
  const auto remove = make_transform(
      "RemoveLabelTransform", record({{"label_value", 1.0}, {"set_to", 9.0}, {"segmentation_channels", Numbers{-1}}}));
  const Data removed = apply(*remove, record({}), data);
  for (std::size_t i = 0; i < 420; ++i)
    REQUIRE(removed.labels[i] == (i >= 210 && data.labels[i] == 1 ? 9 : data.labels[i]));
  const auto mask = make_transform(
      "MaskImageTransform",
      record({{"apply_to_channels", Numbers{-1}}, {"channel_idx_in_seg", -2.0}, {"set_outside_to", 4.0}}));
  const Data masked = apply(*mask, record({}), data);
  for (std::size_t i = 0; i < 210; ++i)
    REQUIRE(masked.image[210 + i] == (data.labels[i] < 0 ? 4.0f : data.image[210 + i]));
  // As in bgv2, the channel then stays.
  const auto move = make_transform(
      "MoveSegAsOneHotToDataTransform",
      record({{"source_channel_idx", -1.0}, {"all_labels", Numbers{1}}, {"remove_channel_from_source", true}}));
  CHECK(move->after(geometry_of(data)).segmentation_channels == 2);
  const Data moved = apply(*move, record({}), data);
  for (std::size_t i = 0; i < 210; ++i) REQUIRE(moved.image[420 + i] == (data.labels[210 + i] == 1 ? 1.0f : 0.0f));
  CHECK(moved.labels == data.labels);
  for (const double value : {40000.0, -32769.0, 1.5, 1e30})
    CHECK(has(message_of([&] {
                make_transform(
                    "RemoveLabelTransform",
                    record({{"label_value", value}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}}));
              }),
              "expected 'label_value' of labels, whole numbers from -32768 to 32767"));
}

TEST_CASE("regions: what no segmentation can have is nowhere", "[transforms]") {
  const auto none = make_transform("ConvertSegmentationToRegionsTransform",
                                   record({{"channel_in_seg", -1.0}, {"regions", Rows{{65537, 1.5, 2}, {65538}}}}));
  const Data data = data_of(1, {5, 6, 7}, 2);
  const auto found = apply(*none, record({}), data).target<std::uint8_t>(0);
  for (std::size_t i = 0; i < 210; ++i) {
    REQUIRE(found[i] == (data.labels[210 + i] == 2));
    REQUIRE(found[210 + i] == 0);
  }
}

const auto regions = make_transform("ConvertSegmentationToRegionsTransform",
                                    record({{"channel_in_seg", 0.0}, {"regions", Rows{{1, 2, 3}, {2}, {}}}}));

TEST_CASE("regions: one bool channel each", "[transforms]") {
  const Data data = data_of(1, {5, 6, 7});
  const Data out = apply(*regions, record({}), data);
  REQUIRE(out.targets[0].type == TargetType::boolean);
  REQUIRE(out.targets[0].channels == 3);
  const auto found = out.target<std::uint8_t>(0);
  for (std::size_t i = 0; i < 210; ++i) {
    REQUIRE(found[i] == (data.labels[i] >= 1));
    REQUIRE(found[210 + i] == (data.labels[i] == 2));
    REQUIRE(found[420 + i] == 0);
  }
}

TEST_CASE("deep supervision: shapes round to even and voxels are nearest-exact", "[transforms]") {
  const auto downsample =
      make_transform("DownsampleSegForDSTransform", record({{"ds_scales", Rows{{1, 1, 1}, {1, 0.5, 0.5}, {0.25}}}}));
  const Data data = data_of(1, {8, 7, 10});
  const Data out = apply(*downsample, record({}), data);
  REQUIRE(out.targets.size() == 3);
  CHECK(out.targets[0].shape == Index3{8, 7, 10});
  CHECK(out.targets[1].shape == Index3{8, 4, 5});  // 3.5 rounds to 4
  CHECK(out.targets[2].shape == Index3{2, 2, 2});  // 1.75 and 2.5
  CHECK(out.labels == data.labels);
  const auto half = out.target<std::int16_t>(1);
  const std::int64_t from_y[] = {0, 2, 4, 6};  // floor((i + 0.5) * 7 / 4)
  for (std::int64_t x = 0, i = 0; x < 8; ++x)
    for (std::int64_t y = 0; y < 4; ++y)
      for (std::int64_t z = 0; z < 5; ++z, ++i)
        REQUIRE(half[static_cast<std::size_t>(i)] == data.label(0, x, from_y[y], 2 * z + 1));
}

TEST_CASE("deep supervision: regions are downsampled as regions", "[transforms]") {
  const auto downsample =
      make_transform("DownsampleSegForDSTransform", record({{"ds_scales", Rows{{1, 1, 1}, {0.5, 0.5, 0.5}}}}));
  const Data data = data_of(1, {8, 8, 8});
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), 1, data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), 1, data.shape});
  sample.begin(image, &labels, 3, nullptr);
  regions->apply(sample, *regions->new_parameters(), random::Stream({}, 0));
  downsample->apply(sample, *downsample->new_parameters(), random::Stream({}, 0));
  const Data out = finished(sample);
  REQUIRE(out.targets.size() == 2);
  CHECK(out.targets[1].type == TargetType::boolean);
  CHECK(out.targets[1].channels == 3);
  CHECK(out.targets[1].shape == Index3{4, 4, 4});
  CHECK(out.target<std::uint8_t>(1)[0] == (data.label(0, 1, 1, 1) >= 1));
}

TEST_CASE("deep supervision: scales that cannot be are named", "[transforms]") {
  const Data data = data_of(1, {8, 8, 8});
  const auto none = make_transform("DownsampleSegForDSTransform", record({{"ds_scales", Rows{{0.01, 1, 1}}}}));
  CHECK(has(message_of([&] { apply(*none, record({}), data); }), "at least one of 8 voxels"));
  const auto two = make_transform("DownsampleSegForDSTransform", record({{"ds_scales", Rows{{0.5, 0.5}}}}));
  CHECK(has(message_of([&] { apply(*two, record({}), data); }), "3 axes"));
}

TEST_CASE("pseudo 2D: there and back is nothing, and only that way round", "[transforms]") {
  const auto fold = make_transform("Convert3DTo2DTransform", record({}));
  const auto unfold = make_transform("Convert2DTo3DTransform", record({}));
  const Geometry geometry{2, 1, {5, 6, 7}};
  const Geometry folded = fold->after(geometry);
  CHECK(folded == Geometry{10, 5, {1, 6, 7}, 2, 5});
  CHECK(unfold->after(folded) == geometry);
  CHECK_THROWS_AS(unfold->after(geometry), InvalidArgument);
  CHECK_THROWS_AS(fold->after(folded), InvalidArgument);
  const Data data = data_of(1, {4, 4, 4});
  CHECK(has(message_of([&] { apply(*unfold, record({}), data); }), "Convert3DTo2DTransform"));
}

TEST_CASE("deep supervision: factors of each axis in 2D, and targets behind one of full size", "[transforms]") {
  const auto downsample =
      make_transform("DownsampleSegForDSTransform", record({{"ds_scales", Rows{{0.5, 0.25}, {1, 1}, {0.25, 1}, {1}}}}));
  const Data data = data_of(1, {1, 8, 12});
  const Data out = apply(*downsample, record({}), data, 2);
  REQUIRE(out.targets.size() == 4);
  CHECK(out.targets[0].shape == Index3{1, 4, 3});
  CHECK(out.targets[1].shape == Index3{1, 8, 12});
  CHECK(out.targets[2].shape == Index3{1, 2, 12});
  CHECK(out.targets[3].shape == Index3{1, 8, 12});
}

}  // namespace
}  // namespace fastnnunet::transforms
