// Boxes of one input of a spatial transform, from the source where nothing is in memory yet, and crops that reach
// beyond its window.
#pragma once

#include <Eigen/Geometry>
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "fastnnunet/base/border.h"
#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/sample/array.h"
#include "fastnnunet/sample/memory/workspace.h"
#include "fastnnunet/sample/moves/moves.h"
#include "fastnnunet/sample/moves/permute.h"
#include "fastnnunet/sample/source.h"
#include "fastnnunet/warp/positions.h"

namespace fastnnunet::warp {

// The voxel of an axis of `size` voxels that stands for `at` outside of it. A reflection does not repeat the edge.
inline std::int64_t folded(std::int64_t at, std::int64_t size, Border border) {
  if (border == Border::edge) return std::clamp<std::int64_t>(at, 0, size - 1);
  return base::mirrored_without_edge(at, size);
}

// The voxels of the window that a crop of `box` takes.
Box source_of_crop(const Box& box, const Index3& window, Border border);

// A patch around `centre` in the last `dims` axes, all of the window in the others. Throws InvalidArgument where bgv2
// cannot pad the crop; `border_name` is the parameter to blame.
Box crop_box(const Eigen::Vector3d& centre, int dims, const Index3& patch, const Index3& window, Border border,
             const char* border_name);

template <typename T>
class Input {
 public:
  Input(sample::Source<T>* pending, const sample::Array<T>& array, sample::Workspace& workspace)
      : pending_(pending), array_(array), workspace_(workspace) {}

  sample::Workspace& workspace() { return workspace_; }

  // A pending 3D source keeps its planes although the sample is folded: one box then serves all planes of a channel.
  std::int64_t channels() const { return pending_ != nullptr ? pending_->channels() : array_.channels; }
  const Index3& shape() const { return pending_ != nullptr ? pending_->shape() : array_.shape; }

  // `box` without what reads as `outside` anyway. `first`: of the axes that may be cut.
  Box without(const Box& box, T outside, int first) const {
    if (pending_ == nullptr || !(pending_->filling() == outside)) return box;
    Box content = pending_->content();
    for (int axis = 0; axis < first; ++axis) {
      content.lower[axis] = box.lower[axis];
      content.upper[axis] = box.upper[axis];
    }
    return box.intersect(content);
  }

  // `box` of a channel where it lies in memory; no data where it has to be read, or lies too far apart.
  sample::SourceView<T> view_in_place(std::int64_t channel, const Box& box) {
    const sample::SourceView<T> there = in_memory(channel, box);
    return countable(there) ? there : sample::SourceView<T>{};
  }

  // The same; what has to be read or brought together is, and stays until the next call.
  sample::SourceView<T> view(std::int64_t channel, const Box& box) {
    if (const sample::SourceView<T> there = view_in_place(channel, box); there.data != nullptr) return there;
    const sample::SourceView<T> dense = sample::SourceView<T>::dense(nullptr, box);
    if (!countable(dense))
      throw InvalidArgument("SpatialTransform", "a part of the image of at most 2147483647 voxels to be turned",
                            std::to_string(voxels(box.shape())) + " voxels");
    T* memory = workspace_.scratch<T>(0, voxels(box.shape()));
    if (!box.empty()) {
      if (const sample::SourceView<T> far = in_memory(channel, box); far.data != nullptr)
        copy(far, memory);
      else
        pending_->read(channel, box, memory);
    }
    return sample::SourceView<T>::dense(memory, box);
  }

  // `box` of the window, what is outside filled from the border; dense, of the box's shape, its voxels moved.
  void crop(std::int64_t channel, const Box& box, Border border, T outside, const sample::AxisPermutation& move,
            T* out) {
    const Index3 size = box.shape();
    const Box common = box.intersect(Box::of_shape(shape()));
    if (common == box)
      if (const sample::SourceView<T> view = in_memory(channel, box); view.data != nullptr)
        return sample::copy_permuted(workspace_, view.data, {view.plane_step, view.row_step, 1}, size, move, out);
    if (pending_ != nullptr && common == box)
      pending_->read(channel, box, out);
    else
      fill(channel, box, common, border, outside, out);
    sample::permute_in_place(workspace_, out, size, move);
  }

 private:
  sample::SourceView<T> in_memory(std::int64_t channel, const Box& box) {
    if (pending_ != nullptr) return pending_->view(channel, box);
    sample::SourceView<T> all = sample::SourceView<T>::dense(array_.channel(channel), Box::of_shape(array_.shape));
    all.data += base::offset_in(all.box, box.lower);
    all.box = box;
    return all;
  }

  static void copy(const sample::SourceView<T>& from, T* out) {
    const Index3 size = from.box.shape();
    for (std::int64_t x = 0; x < size[0]; ++x)
      for (std::int64_t y = 0; y < size[1]; ++y)
        out = std::copy_n(from.data + x * from.plane_step + y * from.row_step, size[2], out);
  }

  void fill(std::int64_t channel, const Box& box, const Box& common, Border border, T outside, T* out) {
    if (border == Border::constant) base::fill_outside(box, common, out, outside);
    const Box source = source_of_crop(box, shape(), border);
    if (source.empty()) return;
    const sample::SourceView<T> from = view(channel, source);
    const Box rows = border == Border::constant ? common : box;
    for (std::int64_t x = rows.lower[0]; x < rows.upper[0]; ++x)
      for (std::int64_t y = rows.lower[1]; y < rows.upper[1]; ++y) {
        const std::int64_t sx = folded(x, shape()[0], border) - from.box.lower[0];
        const std::int64_t sy = folded(y, shape()[1], border) - from.box.lower[1];
        const T* row = from.data + sx * from.plane_step + sy * from.row_step - from.box.lower[2];
        T* to = out + base::offset_in(box, {x, y, 0});
        std::copy(row + common.lower[2], row + common.upper[2], to + common.lower[2]);
        const std::int64_t first = std::min(common.lower[2], rows.upper[2]);
        for (std::int64_t z = rows.lower[2]; z < first; ++z) to[z] = row[folded(z, shape()[2], border)];
        for (std::int64_t z = common.upper[2]; z < rows.upper[2]; ++z) to[z] = row[folded(z, shape()[2], border)];
      }
  }

  // Vector code counts voxels in 32 bits.
  static bool countable(const sample::SourceView<T>& view) {
    return view.box.shape()[0] * view.plane_step <= std::numeric_limits<std::int32_t>::max();
  }

  sample::Source<T>* pending_;
  sample::Array<T> array_;
  sample::Workspace& workspace_;
};

}  // namespace fastnnunet::warp
