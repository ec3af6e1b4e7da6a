#include "fastnnunet/warp/resample/resample.h"

#include <cmath>
#include <type_traits>

#include "fastnnunet/warp/resample/interpolation.h"
#include "fastnnunet/warp/resample/runs.h"

#define HWY_TARGET_INCLUDE "fastnnunet/warp/resample/resample.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::warp::HWY_NAMESPACE {
namespace {

// Where the voxels below a piece's positions lie in a channel. All channels with the same steps share them.
void place_all(const AxisPositions* HWY_RESTRICT axes, std::int32_t stride_x, std::int32_t stride_y, std::int64_t first,
               std::int64_t last, std::int32_t* HWY_RESTRICT offsets) {
  for (std::int64_t k = first; k < last; ++k)
    offsets[k] = axes[0].whole[k] * stride_x + axes[1].whole[k] * stride_y + axes[2].whole[k];
}

}  // namespace
}  // namespace fastnnunet::warp::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::warp {
namespace {

FASTNNUNET_DISPATCH(place_all);

void resample_run(const ImageResampling& image, const sample::SourceView<float>& view, const RunOfPositions& run,
                  const Pieces& pieces, float* out) {
  if (image.interpolation == Interpolation::linear)
    interpolate_run(view, Strides(view, pieces), run, image.outside, out);
  else
    take_nearest(view, Strides(view, pieces), run, image.outside, out);
}

void resample_run(const LabelResampling& labels, const sample::SourceView<std::int16_t>& view,
                  const RunOfPositions& run, const Pieces& pieces, std::int16_t* out) {
  if (labels.interpolation == Interpolation::linear)
    vote_run(view, Strides(view, pieces), run, labels.outside, labels.tiebreak, out);
  else
    take_nearest(view, Strides(view, pieces), run, labels.outside, out);
}

// Planes [lower, upper) of the patch.
void resample_planes(const Positions& positions, const Index3& patch, const Index3& window, const Box& box,
                     const ImageResampling* image, const LabelResampling* labels, std::int64_t lower,
                     std::int64_t upper) {
  Pieces pieces(positions, patch, window, box);
  const std::int64_t size = voxels(patch);
  // Differences of infinities are none.
  if (image != nullptr && image->interpolation == Interpolation::linear && pieces.separable() &&
      box.shape()[2] <= kLongestRow && std::isfinite(image->outside)) {
    for (std::size_t c = 0; c < image->channels.size(); ++c)
      interpolate_separably(image->channels[c], pieces, patch, lower, upper, image->outside, image->flips,
                            image->out + static_cast<std::int64_t>(c) * size);
    image = nullptr;
  }
  if (image == nullptr && labels == nullptr) return;
  for_each_run(
      pieces, patch, lower, upper,
      [&](const Index3& at, const AxisPositions(&axes)[3], std::int64_t first, std::int64_t last, Place place) {
        alignas(64) std::int32_t offsets[kPiece];
        std::int64_t plane_step = -1, row_step = -1;  // that these are of
        const RunOfPositions run{axes, first, last, place, offsets};
        const auto each = [&](const auto* what) {
          if (what == nullptr || what->channels.empty()) return;
          const auto& steps = what->channels.front();
          if (place == kInside && (steps.plane_step != plane_step || steps.row_step != row_step)) {
            plane_step = steps.plane_step, row_step = steps.row_step;
            place_all(axes, static_cast<std::int32_t>(plane_step), static_cast<std::int32_t>(row_step), first, last,
                      offsets);
          }
          const std::int64_t row = row_of(at[0], at[1], patch, what->flips);
          for (std::size_t c = 0; c < what->channels.size(); ++c) {
            auto* const out = what->out + static_cast<std::int64_t>(c) * size + row;
            if (!what->flips[2]) {
              resample_run(*what, what->channels[c], run, pieces, out + at[2]);
              continue;
            }
            std::remove_reference_t<decltype(*out)> reversed[kPiece];
            resample_run(*what, what->channels[c], run, pieces, reversed);
            sample::copy_reversed(reversed + first, last - first, out + patch[2] - at[2] - last);
          }
        };
        each(image);
        each(labels);
      });
}

}  // namespace

void resample(const sample::Workspace& workspace, const Positions& positions, const Index3& patch, const Index3& window,
              const Box& box, const ImageResampling* image, const LabelResampling* labels) {
  workspace.share(patch[0], [&](std::int64_t lower, std::int64_t upper) {
    resample_planes(positions, patch, window, box, image, labels, lower, upper);
  });
}

}  // namespace fastnnunet::warp
#endif  // HWY_ONCE
