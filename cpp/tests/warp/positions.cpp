#include "fastnnunet/warp/positions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

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

TEST_CASE("positions: the box holds every displaced voxel with its neighbours, and little else", "[transforms]") {
  const Index3 patch = {5, 6, 7}, window = {60, 60, 60};
  constexpr std::size_t kVoxels = 5 * 6 * 7;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    random::Stream stream(SampleId{.seed = seed}, 7);
    // Displacements on both sides of nothing, on one of them, or none along an axis.
    std::array<std::vector<float>, 3> fields;
    Displacements displacements;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (seed % 4 == axis) continue;
      const double middle = stream.uniform(-6, 6);
      for (std::size_t i = 0; i < kVoxels; ++i)
        fields[axis].push_back(static_cast<float>(middle + stream.uniform(-4, 4)));
      displacements.component[axis] = fields[axis].data();
      displacements.low[axis] = static_cast<double>(*std::min_element(fields[axis].begin(), fields[axis].end()));
      displacements.high[axis] = static_cast<double>(*std::max_element(fields[axis].begin(), fields[axis].end()));
    }
    Positions positions;
    const Eigen::Vector3d turned(stream.uniform(-1, 1), stream.uniform(-1, 1), stream.uniform(-1, 1));
    positions.to_window =
        Eigen::Translation3d(30, 30, 30) *
        Eigen::AngleAxisd(stream.uniform(0, 2 * std::numbers::pi), turned.normalized()) *
        Eigen::Scaling(stream.uniform(0.7, 1.4), seed % 2 == 0 ? 1.0 : -1.0, stream.uniform(0.7, 1.4));
    positions.displacements = seed % 5 == 0 ? nullptr : &displacements;
    const Box box = needed_box(positions, patch, window);

    Eigen::Vector3d low = Eigen::Vector3d::Constant(1e9), high = -low, corner_low = low, corner_high = high;
    const auto widen = [](const Eigen::Vector3d& at, Eigen::Vector3d& least, Eigen::Vector3d& most) {
      least = least.cwiseMin(at), most = most.cwiseMax(at);
    };
    std::size_t voxel = 0;
    for (int x = 0; x < 5; ++x)
      for (int y = 0; y < 6; ++y)
        for (int z = 0; z < 7; ++z, ++voxel) {
          Eigen::Vector3d at(x, y, z);
          if (positions.displacements != nullptr)
            for (std::size_t axis = 0; axis < 3; ++axis)
              if (!fields[axis].empty())
                at[static_cast<Eigen::Index>(axis)] += static_cast<double>(fields[axis][voxel]);
          widen(positions.to_window * at, low, high);
        }
    for (int corner = 0; corner < 8; ++corner) {
      Eigen::Vector3d at;
      for (int axis = 0; axis < 3; ++axis) {
        const auto a = static_cast<std::size_t>(axis);
        const bool upper = (corner >> axis & 1) != 0;
        at[axis] = upper ? static_cast<double>(patch[axis] - 1) : 0.0;
        if (positions.displacements != nullptr) at[axis] += upper ? displacements.high[a] : displacements.low[a];
      }
      widen(positions.to_window * at, corner_low, corner_high);
    }
    for (int axis = 0; axis < 3; ++axis) {
      CAPTURE(axis);
      CHECK(static_cast<double>(box.lower[axis]) <= std::max(std::floor(low[axis]), 0.0));
      CHECK(static_cast<double>(box.upper[axis]) >= std::min(std::floor(high[axis]) + 2, 60.0));
      CHECK(static_cast<double>(box.lower[axis]) >= std::floor(corner_low[axis]) - 1);
      CHECK(static_cast<double>(box.upper[axis]) <= std::max(std::floor(corner_high[axis]) + 3, 0.0));
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
