#include "fastnnunet/transforms/spatial/axis_permutation.h"

#include <algorithm>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/sample/moves/flips.h"

namespace fastnnunet::transforms {

void permute(sample::Sample& sample, const sample::SampleMoves& moves, const Work& work, std::string_view owner) {
  sample::Workspace& workspace = sample.workspace();
  if (moves.image.changes()) {
    const sample::Array<float>& image = sample.image();
    for (std::int64_t c = 0; c < image.channels; ++c) {
      const sample::Linear due = work.take(c);
      if (!moves.image.only_flips()) {
        Work::apply_to_channel(sample, c, due);
        sample::permute_in_place(workspace, image.channel(c), image.shape, moves.image);
        continue;
      }
      workspace.share(image.shape[0], [&](std::int64_t begin, std::int64_t end) {
        sample::flip(image.channel(c), image.shape, moves.image.reversed, begin, end, due);
      });
    }
  }
  if (!sample.has_segmentation() || !moves.labels.changes()) return;
  if (!sample.targets().empty()) throw InvalidArgument(owner, "one segmentation", "those of deep supervision");
  if (const sample::Target* regions = sample.regions()) {
    auto* data = static_cast<std::uint8_t*>(regions->data);
    for (std::int64_t c = 0; c < regions->channels; ++c)
      sample::permute_in_place(workspace, data + c * voxels(regions->shape), regions->shape, moves.labels);
    return;
  }
  const sample::Array<std::int16_t>& labels = sample.segmentation();
  for (std::int64_t c = 0; c < labels.channels; ++c)
    sample::permute_in_place(workspace, labels.channel(c), labels.shape, moves.labels);
}

void check_axes(std::string_view owner, const std::vector<std::int64_t>& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || axes[i] > 2) throw InvalidArgument(owner, "'allowed_axes' from 0 to 2", std::to_string(axes[i]));
    if (std::find(axes.begin(), axes.begin() + static_cast<std::ptrdiff_t>(i), axes[i]) !=
        axes.begin() + static_cast<std::ptrdiff_t>(i))
      throw InvalidArgument(owner, "each of 'allowed_axes' once", std::to_string(axes[i]) + " twice");
  }
}

void check_axes(std::string_view owner, const std::vector<std::int64_t>& axes, const Geometry& geometry, bool equal) {
  const auto size = [&](std::int64_t axis) {
    return geometry.shape[static_cast<std::size_t>(axis + 3 - geometry.dims)];
  };
  for (const std::int64_t axis : axes) {
    if (axis >= geometry.dims)
      throw InvalidArgument(owner, "'allowed_axes' below " + std::to_string(geometry.dims), std::to_string(axis));
    if (equal && size(axis) != size(axes.front()))
      throw InvalidArgument(owner, "'allowed_axes' along which the image has one size",
                            std::to_string(size(axes.front())) + " and " + std::to_string(size(axis)) + " voxels");
  }
}

}  // namespace fastnnunet::transforms
