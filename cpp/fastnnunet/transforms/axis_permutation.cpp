#include "fastnnunet/transforms/axis_permutation.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet {
namespace {

// Where the result's voxel (i, j, k) lies in the source: offset + i * step[0] + j * step[1] + k * step[2].
struct Steps {
  std::int64_t offset = 0;
  std::int64_t step[3];

  Steps(const AxisPermutation& permutation, const Index3& shape) {
    const std::int64_t strides[3] = {shape[1] * shape[2], shape[2], 1};
    for (int axis = 0; axis < 3; ++axis) {
      step[axis] = strides[permutation.from[axis]];
      if (!permutation.reversed[axis]) continue;
      offset += (shape[axis] - 1) * step[axis];
      step[axis] = -step[axis];
    }
  }
};

// A plane whose lines along one axis become lines along the other, in tiles, so that what a cache line holds is used
// while it is there.
template <typename T>
void transpose_plane(const T* FASTNNUNET_RESTRICT from, std::int64_t step_line, std::int64_t step_along,
                     T* FASTNNUNET_RESTRICT out, std::int64_t pitch, std::int64_t lines, std::int64_t length) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t line0 = 0; line0 < lines; line0 += kTile)
    for (std::int64_t along0 = 0; along0 < length; along0 += kTile) {
      const std::int64_t line1 = std::min(line0 + kTile, lines), along1 = std::min(along0 + kTile, length);
      for (std::int64_t line = line0; line < line1; ++line)
        for (std::int64_t along = along0; along < along1; ++along)
          out[line * pitch + along] = from[line * step_line + along * step_along];
    }
}

template <typename T>
void permute_channel(T* data, T* copy, const Index3& shape, const AxisPermutation& permutation) {
  std::memcpy(copy, data, static_cast<std::size_t>(voxels(shape)) * sizeof(T));
  const Steps steps(permutation, shape);
  const T* const source = copy + steps.offset;
  if (permutation.from[2] == 2) {
    for (std::int64_t i = 0; i < shape[0]; ++i)
      for (std::int64_t j = 0; j < shape[1]; ++j) {
        const T* row = source + i * steps.step[0] + j * steps.step[1];
        T* const out = data + (i * shape[1] + j) * shape[2];
        if (permutation.reversed[2])
          std::reverse_copy(row - (shape[2] - 1), row + 1, out);
        else
          std::copy(row, row + shape[2], out);
      }
    return;
  }
  // The axis that Z comes from, and the one that is left over.
  const int line = permutation.from[0] == 2 ? 0 : 1, other = 1 - line;
  const std::int64_t pitches[2] = {shape[1] * shape[2], shape[2]};
  for (std::int64_t at = 0; at < shape[other]; ++at)
    transpose_plane(source + at * steps.step[other], steps.step[line], steps.step[2], data + at * pitches[other],
                    pitches[line], shape[line], shape[2]);
}

template <typename T>
void permute_channels(Workspace& workspace, T* data, std::int64_t channels, const Index3& shape,
                      const AxisPermutation& permutation) {
  T* copy = workspace.scratch<T>(0, voxels(shape));
  for (std::int64_t c = 0; c < channels; ++c) permute_channel(data + c * voxels(shape), copy, shape, permutation);
}

}  // namespace

bool AxisPermutation::keeps(const Index3& shape) const {
  for (int axis = 0; axis < 3; ++axis)
    if (shape[from[axis]] != shape[axis]) return false;
  return true;
}

void AxisPermutation::turn(int first, int second) {
  std::swap(from[first], from[second]);
  std::swap(reversed[first], reversed[second]);
  reversed[first] = !reversed[first];
}

void permute(Sample& sample, const AxisPermutation& permutation, std::string_view owner) {
  if (!sample.targets().empty()) throw InvalidArgument(owner, "one segmentation", "those of deep supervision");
  const Array<float>& image = sample.image();
  permute_channels(sample.workspace(), image.data, image.channels, image.shape, permutation);
  if (!sample.has_segmentation()) return;
  if (const Target* regions = sample.regions()) {
    permute_channels(sample.workspace(), static_cast<std::uint8_t*>(regions->data), regions->channels, regions->shape,
                     permutation);
    return;
  }
  const Array<std::int16_t>& labels = sample.segmentation();
  permute_channels(sample.workspace(), labels.data, labels.channels, labels.shape, permutation);
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

}  // namespace fastnnunet
