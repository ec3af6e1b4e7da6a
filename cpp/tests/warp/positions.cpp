#include "fastnnunet/warp/positions.h"

#include <cmath>
#include <numbers>

#include "transforms/spatial/attributes.h"

namespace fastnnunet::warp {
namespace {

using namespace testing;

constexpr double kAngle = std::numbers::pi / 6;
const Rows kIdentity = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};

// What a transform makes of a window that it reads itself, or of one that was read before (`whole`).
template <typename Prepare>
Data made_of(const transforms::Transform& spatial, sample::Source<float>& image, sample::Source<std::int16_t>& labels,
             bool whole, std::uint64_t seed, Prepare&& prepare) {
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  sample.begin(image, &labels, 3, nullptr);
  const auto parameters = spatial.new_parameters();
  prepare(sample.geometry(), *parameters);
  if (whole) {
    sample.image();
    sample.segmentation();
  }
  spatial.apply(sample, *parameters, random::Stream(SampleId{.seed = seed}, 2));
  return finished(sample);
}

TEST_CASE("positions: what is read is enough and no more", "[transforms]") {
  // The box of voxels in memory must give what the whole window in memory gives.
  const Data data = data_of(1, {30, 34, 38});
  for (const char* border : {"zeros", "constant", "border", "reflection"})
    for (const char* mode : {"bilinear", "nearest"})
      for (const double p_elastic : {0.0, 1.0})
        for (const double distance : {14.0, -6.0})
          for (const bool align_corners : {false, true}) {
            CAPTURE(border, mode, p_elastic, distance, align_corners);
            const auto spatial = transforms::make_transform(
                "SpatialTransform",
                with(deforming({7, 8, 9}, kAngle, 0.9), {{"p_elastic_deform", p_elastic},
                                                         {"padding_mode_image", std::string(border)},
                                                         {"border_mode_seg", std::string(border)},
                                                         {"mode_image", std::string(mode)},
                                                         {"mode_seg", std::string(mode)},
                                                         {"align_corners", align_corners},
                                                         {"random_crop", true},
                                                         {"patch_center_dist_from_border", Numbers(3, distance)}}));
            for (std::uint64_t seed = 0; seed < 12; ++seed) {
              CAPTURE(seed);
              Data results[2];
              for (const bool whole : {false, true}) {
                CountingSource<float> image({data.image.data(), 1, data.shape});
                CountingSource<std::int16_t> labels({data.labels.data(), 1, data.shape});
                results[whole ? 1 : 0] =
                    made_of(*spatial, image, labels, whole, seed, [&](const auto& geometry, auto& p) {
                      random::Stream stream(SampleId{.seed = seed}, 1);
                      spatial->draw(stream, geometry, p);
                    });
                // Rotated by 30 degrees, scaled by 1.4, displaced by 3 voxels and a margin: 26 voxels at most.
                if (!whole) CHECK(image.voxels_read <= 26 * 27 * 28);
                if (!whole) CHECK(labels.voxels_read == image.voxels_read);
              }
              int differing = 0;
              for (std::size_t i = 0; i < results[0].image.size(); ++i)
                differing += std::abs(results[0].image[i] - results[1].image[i]) > 1e-4f;
              CHECK(differing == 0);
              CHECK(results[0].labels == results[1].labels);
            }
          }
}

// An image in the middle of a window, as where a case is smaller than what a rotation may need.
template <typename T>
class CentredSource final : public sample::Source<T> {
 public:
  CentredSource(const sample::Array<const T>& array, const Box& content, T filling)
      : array_(array), content_(content), filling_(filling) {}
  std::int64_t channels() const override { return array_.channels(); }
  const Index3& shape() const override { return array_.shape(); }
  Box content() const override { return content_; }
  T filling() const override { return filling_; }
  void read(std::int64_t channel, const Box& box, T* out) override {
    beyond = beyond || !(box.intersect(content_) == box);
    array_.read(channel, box, out);
  }
  bool beyond = false;

 private:
  sample::ArraySource<T> array_;
  Box content_;
  T filling_;
};

TEST_CASE("positions: of a window only the image is read", "[transforms]") {
  Data data = data_of(1, {30, 34, 38});
  const Box content{{6, 9, 4}, {22, 30, 33}};
  for (std::int64_t x = 0; x < 30; ++x)
    for (std::int64_t y = 0; y < 34; ++y)
      for (std::int64_t z = 0; z < 38; ++z) {
        const Box voxel{{x, y, z}, {x + 1, y + 1, z + 1}};
        if (voxel.intersect(content) == voxel) continue;
        const auto at = static_cast<std::size_t>((x * 34 + y) * 38 + z);
        data.image[at] = 0.0f;
        data.labels[at] = -1;
      }
  // What is around the image in a window is not what is around a window: then all is read.
  struct Filling {
    const char* border;
    double image, labels;
    bool same;
  };
  for (const Filling& filling : {Filling{"constant", 0, -1, true}, Filling{"constant", 5, 3, false},
                                 Filling{"border", 0, -1, false}, Filling{"reflection", 0, -1, false}})
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      CAPTURE(filling.border, filling.image, seed);
      const auto spatial = transforms::make_transform(
          "SpatialTransform",
          with(spatial_attributes({28, 30, 31}, kAngle, 0.7, 0.7), {{"padding_mode_image", std::string(filling.border)},
                                                                    {"border_mode_seg", std::string(filling.border)},
                                                                    {"padding_value_image", filling.image},
                                                                    {"padding_value_seg", filling.labels}}));
      Data results[2];
      for (const bool whole : {false, true}) {
        CentredSource<float> image({data.image.data(), 1, data.shape}, content, 0.0f);
        CentredSource<std::int16_t> labels({data.labels.data(), 1, data.shape}, content, -1);
        bool resamples = false;
        results[whole ? 1 : 0] = made_of(*spatial, image, labels, whole, seed, [&](const auto& geometry, auto& p) {
          random::Stream stream(SampleId{.seed = seed}, 1);
          spatial->draw(stream, geometry, p);
          resamples = spatial->describe(p).has("affine");
        });
        if (!whole && resamples && filling.same) CHECK_FALSE((image.beyond || labels.beyond));
      }
      CHECK(results[0].image == results[1].image);
      CHECK(results[0].labels == results[1].labels);
    }
}

TEST_CASE("positions: what is read is enough where positions round to the voxel before", "[transforms]") {
  const Data data = data_of(1, {4001, 5, 4});
  for (const char* border : {"zeros", "border", "reflection"}) {
    const auto spatial = transforms::make_transform(
        "SpatialTransform",
        with(spatial_attributes({8, 5, 4}, kAngle, 0, 0),
             {{"padding_mode_image", std::string(border)}, {"border_mode_seg", std::string(border)}}));
    // A little above a voxel, and rounded to a little below it.
    for (double centre = 1.00003; centre < 4001.0; centre += 61.5) {
      CAPTURE(border, centre);
      Data results[2];
      for (const bool whole : {false, true}) {
        CountingSource<float> image({data.image.data(), 1, data.shape});
        CountingSource<std::int16_t> labels({data.labels.data(), 1, data.shape});
        results[whole ? 1 : 0] = made_of(*spatial, image, labels, whole, 0, [&](const auto& geometry, auto& p) {
          spatial->restore(placed_at({centre, 2.5, 2.0}, kIdentity), geometry, p);
        });
        if (!whole) CHECK(image.voxels_read <= 11 * 5 * 4);
      }
      CHECK(results[0].image == results[1].image);
      CHECK(results[0].labels == results[1].labels);
    }
  }
}

}  // namespace
}  // namespace fastnnunet::warp
