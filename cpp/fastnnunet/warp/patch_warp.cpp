#include "fastnnunet/warp/patch_warp.h"

#include "fastnnunet/sample/moves/permute.h"

namespace fastnnunet::warp {
namespace {

void resample_one(const sample::Workspace& workspace, const Positions& positions, const Index3& patch,
                  const Index3& window, const Box& box, const ImageResampling& image) {
  resample(workspace, positions, patch, window, box, &image, nullptr);
}

void resample_one(const sample::Workspace& workspace, const Positions& positions, const Index3& patch,
                  const Index3& window, const Box& box, const LabelResampling& labels) {
  resample(workspace, positions, patch, window, box, nullptr, &labels);
}

template <typename T>
bool in_place(Input<T>& input, const Box& box, std::vector<sample::SourceView<T>>& views) {
  views.clear();
  for (std::int64_t channel = 0; channel < input.channels(); ++channel) {
    views.push_back(input.view_in_place(channel, box));
    if (views.back().data == nullptr) return false;
  }
  return true;
}

// What is done as rows are written; where axes change places, all is done afterwards. See Note [A warp writes rows].
sample::Flips flips_of(const sample::AxisPermutation& move) {
  return move.only_flips() ? move.reversed : sample::Flips{};
}

template <typename T>
void exchange_axes(sample::Workspace& workspace, T* data, std::int64_t channels, const Index3& shape,
                   const sample::AxisPermutation& move) {
  if (move.only_flips()) return;
  for (std::int64_t channel = 0; channel < channels; ++channel)
    sample::permute_in_place(workspace, data + channel * voxels(shape), shape, move);
}

}  // namespace

// In 2D, every plane of a source channel goes the same way; planes stay whole, and a position's X is its plane.
Index3 PatchWarp::patch_of(const Index3& window) const {
  Index3 all = patch;
  if (dims == 2) all[0] = window[0];
  return all;
}

Positions PatchWarp::positions_in(const Index3& window, const PatchPlace& place, Border border) const {
  return grid_positions(place.grid, dims, patch_of(window), window, place.displacements, border);
}

// What of the window is looked at.
template <typename T>
Box PatchWarp::box_for(const Input<T>& input, const Positions& positions,
                       const InterpolationOptions<T>& options) const {
  const Box box = needed_box(positions, patch_of(input.shape()), input.shape());
  return options.border == Border::constant ? input.without(box, options.outside, 3 - dims) : box;
}

ImageResampling PatchWarp::resampling_of(std::span<const sample::SourceView<float>> channels,
                                         const sample::Flips& flips, float* out) const {
  return {channels, image.interpolation, image.outside, out, flips};
}

LabelResampling PatchWarp::resampling_of(std::span<const sample::SourceView<std::int16_t>> channels,
                                         const sample::Flips& flips, std::int16_t* out) const {
  return {channels, labels.interpolation, labels.outside, tiebreak, out, flips};
}

// Channel by channel: of what has to be read, one is in memory at a time.
template <typename T>
void PatchWarp::warp_channels(Input<T>& input, const PatchPlace& place, const InterpolationOptions<T>& options,
                              const sample::AxisPermutation& move, T* out) const {
  const Index3 window = input.shape(), all = patch_of(window);
  const std::int64_t size = voxels(all);
  if (place.crop) {
    const Box box = crop_box(place.grid.affine.translation(), dims, all, window, options.border, options.border_name);
    for (std::int64_t channel = 0; channel < input.channels(); ++channel)
      input.crop(channel, box, options.border, options.outside, move, out + channel * size);
    return;
  }
  const Positions positions = positions_in(window, place, options.border);
  const Box box = box_for(input, positions, options);
  for (std::int64_t channel = 0; channel < input.channels(); ++channel) {
    const sample::SourceView<T> view = input.view(channel, box);
    resample_one(input.workspace(), positions, all, window, box,
                 resampling_of({&view, 1}, flips_of(move), out + channel * size));
  }
  exchange_axes(input.workspace(), out, input.channels(), all, move);
}

void PatchWarp::warp(Input<float>& input, const PatchPlace& place, const sample::AxisPermutation& move,
                     float* out) const {
  warp_channels(input, place, image, move, out);
}

void PatchWarp::warp(Input<std::int16_t>& input, const PatchPlace& place, const sample::AxisPermutation& move,
                     std::int16_t* out) const {
  warp_channels(input, place, labels, move, out);
}

bool PatchWarp::warp_together(Input<float>& image_input, Input<std::int16_t>& label_input, const PatchPlace& place,
                              const sample::SampleMoves& moves, WarpViews& views, float* image_out,
                              std::int16_t* labels_out) const {
  if (place.crop) return false;
  if (image.border != labels.border || image_input.shape() != label_input.shape()) return false;
  const Index3 window = image_input.shape();
  const Positions positions = positions_in(window, place, image.border);
  const Box box = box_for(image_input, positions, image);
  if (!(box == box_for(label_input, positions, labels))) return false;
  if (!in_place(image_input, box, views.image) || !in_place(label_input, box, views.labels)) return false;
  const ImageResampling of_image = resampling_of(views.image, flips_of(moves.image), image_out);
  const LabelResampling of_labels = resampling_of(views.labels, flips_of(moves.labels), labels_out);
  sample::Workspace& workspace = image_input.workspace();
  resample(workspace, positions, patch_of(window), window, box, &of_image, &of_labels);
  exchange_axes(workspace, image_out, image_input.channels(), patch_of(window), moves.image);
  exchange_axes(workspace, labels_out, label_input.channels(), patch_of(window), moves.labels);
  return true;
}

}  // namespace fastnnunet::warp
