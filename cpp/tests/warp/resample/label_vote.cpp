#include "fastnnunet/warp/resample/label_vote.h"

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/simd/half.h"
#include "fastnnunet/warp/resample/resample.h"
#include "transforms/spatial/attributes.h"

namespace fastnnunet::warp {
namespace {

using namespace testing;

// Voxel by voxel, as bgv2 says.
std::int16_t expected(const Data& data, const Box& box, const Eigen::Vector3d& at, base::Tiebreak tiebreak) {
  Index3 below;
  float weights[3][2];
  int nearest = 0;
  for (int axis = 0; axis < 3; ++axis) {
    below[axis] = static_cast<std::int64_t>(std::floor(at[axis]));
    weights[axis][1] = static_cast<float>(at[axis] - std::floor(at[axis]));
    weights[axis][0] = 1.0f - weights[axis][1];
    nearest = 2 * nearest + static_cast<int>(static_cast<std::int64_t>(std::nearbyint(at[axis])) - below[axis]);
  }
  std::int16_t labels[8];
  for (int corner = 0; corner < 8; ++corner) {
    const Index3 voxel{below[0] + (corner >> 2), below[1] + ((corner >> 1) & 1), below[2] + (corner & 1)};
    labels[corner] = base::contains(box, voxel) ? data.label(0, voxel[0], voxel[1], voxel[2]) : std::int16_t{-1};
  }
  return base::vote(labels, weights[0], weights[1], weights[2], nearest, tiebreak,
                    [](float weight) { return simd::rounded_to_normal_half(1000.0f * weight); });
}

TEST_CASE("label vote: the quick ways for one and for two labels decide as for many, also where labels tie",
          "[transforms]") {
  const Index3 window{10, 12, 11}, patch{14, 13, 17};
  Positions positions;
  positions.to_window = Eigen::Translation3d(1, 0.75, 0.5) * Eigen::Scaling(0.5, 0.75, 0.5);
  positions.to_window(0, 2) = 0.125;
  sample::Workspace workspace;
  for (const std::int16_t labels : {1, 2, 5}) {
    Data data{window, {}, {}};
    random::Stream stream(SampleId{.seed = 3}, 1);
    each_voxel(window, [&](std::int64_t, std::int64_t, std::int64_t) {
      data.labels.push_back(static_cast<std::int16_t>(stream.integer(0, labels - 1) - 2));
    });
    for (const Box& box : {Box::of_shape(window), Box{{3, 2, 4}, {8, 9, 10}}})
      for (const base::Tiebreak tiebreak : {base::Tiebreak::nearest, base::Tiebreak::lowest, base::Tiebreak::highest}) {
        CAPTURE(labels, static_cast<int>(tiebreak), box.lower);
        sample::SourceView<std::int16_t> view =
            sample::SourceView<std::int16_t>::dense(data.labels.data(), Box::of_shape(window));
        view.data += base::offset_in(view.box, box.lower);
        view.box = box;
        Data out{patch, {}, std::vector<std::int16_t>(static_cast<std::size_t>(voxels(patch)))};
        const LabelResampling resampling{{&view, 1}, Interpolation::linear, -1, tiebreak, out.labels.data()};
        resample(workspace, positions, patch, window, box, nullptr, &resampling);
        each_voxel(patch, [&](std::int64_t i, std::int64_t j, std::int64_t k) {
          const Eigen::Vector3d voxel(static_cast<double>(i), static_cast<double>(j), static_cast<double>(k));
          REQUIRE(out.label(0, i, j, k) == expected(data, box, positions.to_window * voxel, tiebreak));
        });
      }
  }
}

}  // namespace
}  // namespace fastnnunet::warp
