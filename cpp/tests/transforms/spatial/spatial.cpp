#include <cmath>
#include <numbers>

#include "transforms/spatial/attributes.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

Record attributes(const Numbers& patch, double p_rotation = 0, double p_scaling = 0) {
  return spatial_attributes(patch, std::numbers::pi / 6, p_rotation, p_scaling);
}

Record elastic_attributes(const Numbers& patch, double p_affine = 0) {
  return deforming(patch, std::numbers::pi / 6, p_affine);
}

const Rows kIdentity = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};

TEST_CASE("spatial: without rotation and scaling it is a crop, and only the crop is read", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({4, 5, 6}));
  const Data data = data_of(2, {10, 11, 12});
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  CountingSource<float> image({data.image.data(), 2, data.shape});
  CountingSource<std::int16_t> labels({data.labels.data(), 1, data.shape});
  sample.begin(image, &labels, 3, nullptr);
  const auto restored = spatial->new_parameters();
  spatial->restore(placed_at({5.0, 5.5, 6.0}), sample.geometry(), *restored);
  spatial->apply(sample, *restored, random::Stream({}, 2));
  const Data out = finished(sample);
  REQUIRE(out.shape == Index3{4, 5, 6});
  each_voxel({4, 5, 6}, [&](std::int64_t x, std::int64_t y, std::int64_t z) {
    REQUIRE(out.at(1, x, y, z) == data.at(1, x + 3, y + 3, z + 3));
    REQUIRE(out.label(0, x, y, z) == data.label(0, x + 3, y + 3, z + 3));
  });
  CHECK(image.voxels_read == 2 * 4 * 5 * 6);
  CHECK(labels.voxels_read == 4 * 5 * 6);
}

TEST_CASE("spatial: a window smaller than the patch is filled", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({8, 8, 8}));
  const Data data = data_of(1, {4, 8, 6});
  const Data out = apply(*spatial, placed_at({2, 4, 3}), data);
  for (std::int64_t x = 0; x < 8; ++x)
    for (std::int64_t z = 0; z < 8; ++z) {
      const bool inside = x >= 2 && x < 6 && z >= 1 && z < 7;
      REQUIRE(out.at(0, x, 3, z) == (inside ? data.at(0, x - 2, 3, z - 1) : 0.0f));
      REQUIRE(out.label(0, x, 3, z) == (inside ? data.label(0, x - 2, 3, z - 1) : -1));
    }
}

TEST_CASE("spatial: the identity matrix is the crop", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({7, 5, 9}));
  const Data data = data_of(1, {15, 15, 15});
  // bgv2's grid is centred on the patch: for odd sizes a centre of c + 0.5 lies on voxels.
  const Data crop = apply(*spatial, placed_at({7.5, 7.5, 7.5}), data);
  const Data resampled = apply(*spatial, placed_at({7.5, 7.5, 7.5}, kIdentity), data);
  CHECK(resampled.labels == crop.labels);
  for (std::size_t i = 0; i < crop.image.size(); ++i)
    REQUIRE(resampled.image[i] == Catch::Approx(crop.image[i]).margin(1e-5));
}

TEST_CASE("spatial: a quarter turn moves voxels to voxels", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({9, 9, 9}));
  const Data data = data_of(1, {9, 9, 9});
  const Data out = apply(*spatial, placed_at({4.5, 4.5, 4.5}, Rows{{1, 0, 0}, {0, 0, -1}, {0, 1, 0}}), data);
  each_voxel({9, 9, 9}, [&](std::int64_t x, std::int64_t y, std::int64_t z) {
    REQUIRE(out.at(0, x, y, z) == Catch::Approx(data.at(0, x, 8 - z, y)).margin(1e-5));
    REQUIRE(out.label(0, x, y, z) == data.label(0, x, 8 - z, y));
  });
}

TEST_CASE("spatial: a linear image stays linear under any matrix", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({8, 8, 8}));
  Data data = data_of(1, {24, 24, 24});
  for (std::int64_t x = 0, i = 0; x < 24; ++x)
    for (std::int64_t y = 0; y < 24; ++y)
      for (std::int64_t z = 0; z < 24; ++z, ++i)
        data.image[static_cast<std::size_t>(i)] =
            static_cast<float>(x) + 10.0f * static_cast<float>(y) - 3.0f * static_cast<float>(z);
  const Rows matrix = {{0.9, 0.2, -0.1}, {-0.3, 1.1, 0.05}, {0.1, 0.0, 0.8}};
  const Data out = apply(*spatial, placed_at({12, 11, 13}, matrix), data);
  const auto position = [&](std::size_t axis, double centre, std::int64_t i, std::int64_t j, std::int64_t k) {
    return matrix[axis][0] * (static_cast<double>(i) - 3.5) + matrix[axis][1] * (static_cast<double>(j) - 3.5) +
           matrix[axis][2] * (static_cast<double>(k) - 3.5) + centre - 0.5;
  };
  each_voxel({8, 8, 8}, [&](std::int64_t i, std::int64_t j, std::int64_t k) {
    const double expected = position(0, 12, i, j, k) + 10 * position(1, 11, i, j, k) - 3 * position(2, 13, i, j, k);
    REQUIRE(out.at(0, i, j, k) == Catch::Approx(expected).margin(1e-3));
  });
}

TEST_CASE("spatial: resampled labels are labels of the neighbourhood", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({12, 12, 12}));
  Data data = data_of(1, {16, 16, 16});
  for (std::int16_t& label : data.labels) label = label == 2 ? 2 : 7;
  const Data out = apply(*spatial, placed_at({8, 8, 8}, Rows{{0.8, 0.3, 0}, {-0.3, 0.8, 0}, {0, 0, 0.9}}), data);
  for (const std::int16_t label : out.labels) REQUIRE((label == 2 || label == 7));
  // Beyond the window there is nothing but padding.
  const Data outside = apply(*spatial, placed_at({100, 100, 100}, kIdentity), data);
  CHECK(std::all_of(outside.labels.begin(), outside.labels.end(), [](auto label) { return label == -1; }));
  CHECK(std::all_of(outside.image.begin(), outside.image.end(), [](auto value) { return value == 0.0f; }));
}

TEST_CASE("spatial: planes of a folded sample go the same way", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({6, 6}));
  const auto fold = make_transform("Convert3DTo2DTransform", record({}));
  const auto unfold = make_transform("Convert2DTo3DTransform", record({}));
  const Data data = data_of(2, {3, 10, 10});
  for (const Record::Value& affine : {Record::Value(std::monostate{}), Record::Value(Rows{{0.9, 0.1}, {-0.1, 1.2}})}) {
    sample::Workspace workspace;
    sample::Sample sample(workspace);
    sample::ArraySource<float> image({data.image.data(), 2, data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), 1, data.shape});
    sample.begin(image, &labels, 3, nullptr);
    const auto none = fold->new_parameters();
    fold->apply(sample, *none, random::Stream({}, 0));
    const auto restored = spatial->new_parameters();
    spatial->restore(placed_at({5, 5}, affine), sample.geometry(), *restored);
    spatial->apply(sample, *restored, random::Stream({}, 2));
    unfold->apply(sample, *none, random::Stream({}, 0));
    const Data out = finished(sample);
    REQUIRE(out.shape == Index3{3, 6, 6});
    REQUIRE(out.channels() == 2);

    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t plane = 0; plane < 3; ++plane) {
        Data one{{1, 10, 10}, {}, {}};
        for (std::int64_t i = 0; i < 100; ++i) {
          one.image.push_back(data.at(c, plane, i / 10, i % 10));
          one.labels.push_back(data.label(0, plane, i / 10, i % 10));
        }
        const Data alone = apply(*spatial, placed_at({5, 5}, affine), one, 2);
        for (std::int64_t i = 0; i < 36; ++i) {
          REQUIRE(out.at(c, plane, i / 6, i % 6) == alone.at(0, 0, i / 6, i % 6));
          REQUIRE(out.label(0, plane, i / 6, i % 6) == alone.label(0, 0, i / 6, i % 6));
        }
      }
  }
}

TEST_CASE("spatial: what is drawn", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", attributes({8, 8, 8}, 0.2, 0.2));
  const Geometry geometry{1, 1, {12, 12, 12}};
  int affine = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Record parameters = drawn(*spatial, geometry, seed);
    affine += parameters.has("affine");
    REQUIRE(parameters.numbers("center_location_in_pixels") == Numbers{6, 6, 6});
  }
  CHECK(affine == Catch::Approx(2000 * (1 - 0.8 * 0.8)).margin(90));
  check_replay(*make_transform("SpatialTransform", attributes({8, 8, 8}, 1, 1)), data_of(1, {12, 12, 12}));
}

TEST_CASE("spatial: elastic parameters are drawn and replayed", "[transforms]") {
  const auto spatial = make_transform(
      "SpatialTransform",
      with(elastic_attributes({8, 10, 20}), {{"p_elastic_deform", 0.3}, {"p_synchronize_def_scale_across_axes", 0.5}}));
  const Geometry geometry{1, 1, {12, 12, 22}};
  int fired = 0, synchronized = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Record parameters = drawn(*spatial, geometry, seed);
    if (!parameters.has("elastic_sigmas")) continue;
    ++fired;
    const Numbers& sigmas = parameters.numbers("elastic_sigmas");
    synchronized += sigmas[0] / 8 == sigmas[1] / 10;
    for (const double magnitude : parameters.numbers("elastic_magnitudes")) REQUIRE((magnitude >= 1 && magnitude < 3));
    REQUIRE((sigmas[2] >= 0.05 * 20 && sigmas[2] <= 0.3 * 20));
  }
  CHECK(fired == Catch::Approx(600).margin(90));
  CHECK(synchronized == Catch::Approx(fired / 2.0).margin(60));
  check_replay(*make_transform("SpatialTransform", elastic_attributes({8, 8, 8})), data_of(1, {12, 12, 12}));
  check_replay(*make_transform("SpatialTransform", elastic_attributes({8, 8, 8}, 1)), data_of(1, {12, 12, 12}));
  check_replay(*make_transform("SpatialTransform", elastic_attributes({8, 9}, 1)), data_of(1, {1, 12, 12}), 2);
}

TEST_CASE("spatial: offsets move what they say", "[transforms]") {
  // One voxel up along Y everywhere, without and with the mean taken away.
  for (const bool centre : {false, true}) {
    const auto spatial =
        make_transform("SpatialTransform", with(attributes({6, 6, 6}), {{"center_deformation", centre}}));
    const Data data = data_of(1, {12, 12, 12});
    FloatArray offsets{{3, 6, 6, 6}, std::vector<float>(3 * 216, 0.0f)};
    std::fill(offsets.values.begin() + 216, offsets.values.begin() + 432, 1.0f);
    Record record = placed_at({6, 6, 6});
    record.set("elastic_offsets", std::make_shared<const FloatArray>(offsets));
    const Data out = apply(*spatial, record, data);
    // An even patch in an even window lies on voxels.
    for (std::int64_t x = 0; x < 6; ++x)
      for (std::int64_t y = 0; y < 6; ++y)
        for (std::int64_t z = 0; z < 6; ++z)
          REQUIRE(out.at(0, x, y, z) == Catch::Approx(data.at(0, x + 3, y + (centre ? 3 : 4), z + 3)).margin(1e-5));
  }
}

TEST_CASE("spatial: working memory is as large as stated and stays", "[transforms]") {
  const auto spatial = make_transform("SpatialTransform", elastic_attributes({9, 10, 11}, 1));
  const Data data = data_of(1, {20, 20, 20});
  sample::Workspace workspace;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    sample::Sample sample(workspace);
    sample::ArraySource<float> image({data.image.data(), 1, data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), 1, data.shape});
    sample.begin(image, &labels, 3, nullptr);
    const auto parameters = spatial->new_parameters();
    random::Stream stream(SampleId{.seed = seed}, 1);
    spatial->draw(stream, sample.geometry(), *parameters);
    spatial->apply(sample, *parameters, random::Stream({}, 2));
  }
  std::size_t stated =
      platform::Buffer::rounded(9 * 10 * 11 * sizeof(float)) + platform::Buffer::rounded(9 * 10 * 11 * 2);
  for (const std::size_t bytes : spatial->scratch_bytes({1, 1, data.shape})) stated += platform::Buffer::rounded(bytes);
  CHECK(workspace.bytes() <= stated);
  CHECK(workspace.bytes() >= platform::Buffer::rounded(3 * 9 * 10 * 11 * sizeof(float)));
  CHECK(make_transform("SpatialTransform", attributes({9, 10, 11}))->scratch_bytes({1, 1, data.shape})[1] == 0);
}

TEST_CASE("spatial: what a border cannot fill is named", "[transforms]") {
  const Data data = data_of(1, {8, 8, 8});
  const auto message = [&](const char* border, const Numbers& patch, const Numbers& centre) {
    const auto spatial =
        make_transform("SpatialTransform", with(attributes(patch), {{"padding_mode_image", std::string(border)}}));
    return message_of([&] { apply(*spatial, placed_at(centre), data); });
  };
  CHECK(has(message("reflection", {8, 24, 8}, {4, 4, 4}), "axis 1 that 'padding_mode_image' can fill"));
  CHECK(has(message("reflection", {8, 8, 8}, {4, 4, 9}), "axis 2"));
  CHECK(has(message("border", {8, 8, 8}, {12, 4, 4}), "axis 0"));
  CHECK(has(message("zeros", {8, 8, 8}, {4, 4, 13}), "axis 2"));
}

TEST_CASE("spatial: what does not fit together is named", "[transforms]") {
  Record wrong = attributes({8, 8, 8});
  wrong.set("seg_tiebreak", std::string("best"));
  CHECK(has(message_of([&] { make_transform("SpatialTransform", wrong); }), "seg_tiebreak"));
  for (const char* name : {"mode_image", "mode_seg", "padding_mode_image", "border_mode_seg"}) {
    const auto refused = [&](const Record::Value& value) {
      return message_of([&] { make_transform("SpatialTransform", with(attributes({8, 8, 8}), {{name, value}})); });
    };
    CHECK(has(refused(std::string("bicubic")), name));
    CHECK(has(refused(1.0), name));
  }
  for (const double label : {0.5, 40000.0, -32769.0})
    CHECK(has(message_of([&] {
                make_transform("SpatialTransform", with(attributes({8, 8, 8}), {{"padding_value_seg", label}}));
              }),
              "padding_value_seg"));
  const auto infinite =
      make_transform("SpatialTransform",
                     with(elastic_attributes({8, 8, 8}), {{"elastic_deform_magnitude", Scalar::constant(INFINITY)}}));
  CHECK(has(message_of([&] { drawn(*infinite, {1, 1, {12, 12, 12}}, 0); }), "elastic_deform_magnitude"));
  const auto spatial = make_transform("SpatialTransform", attributes({8, 8, 8}));
  const Data data = data_of(1, {12, 12, 12});
  CHECK(has(message_of([&] { apply(*spatial, placed_at({5, 5}), data); }), "center_location_in_pixels"));
  CHECK(has(message_of([&] { apply(*spatial, placed_at({5, 5, 5}, Rows{{1, 0}, {0, 1}}), data); }), "affine"));
  // Finite as it is, and infinite in float32; or only when it is multiplied by voxels.
  for (const double entry : {std::nan(""), 1e300, -1e39, 3e38})
    CHECK(
        has(message_of([&] { apply(*spatial, placed_at({5, 5, 5}, Rows{{1, 0, 0}, {0, 1, entry}, {0, 0, 1}}), data); }),
            "expected 'affine'"));
  CHECK(has(message_of([&] { spatial->after({1, 1, {1, 12, 12}, 2, 0}); }), "3 spatial axes"));
  Record offsets = placed_at({6, 6, 6});
  offsets.set("elastic_offsets",
              std::make_shared<const FloatArray>(FloatArray{{3, 8, 8, 7}, std::vector<float>(1344)}));
  CHECK(has(message_of([&] { apply(*spatial, offsets, data); }), "elastic_offsets"));
  offsets.set("elastic_offsets", Numbers{1, 2});
  CHECK(has(message_of([&] { apply(*spatial, offsets, data); }), "elastic_offsets"));
}

}  // namespace
}  // namespace fastnnunet::transforms
