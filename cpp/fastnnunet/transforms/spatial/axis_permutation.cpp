#include "fastnnunet/transforms/spatial/axis_permutation.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "hwy/base.h"

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

// A cache line wide, so that each line of memory is touched once, however many of them share a set of the cache.
template <typename T>
constexpr std::int64_t kTile = 64 / static_cast<std::int64_t>(sizeof(T));

// out[line][along] = from[along][line], or from[along][-line] where `Step` is -1. Whole tiles have loops of a fixed
// length and go through a buffer.
template <int Step, typename T>
void transpose_tile(const T* HWY_RESTRICT from, std::int64_t step_along, T* HWY_RESTRICT out, std::int64_t pitch,
                    std::int64_t lines, std::int64_t length) {
  constexpr std::int64_t kSize = kTile<T>;
  if (lines < kSize || length < kSize) {
    for (std::int64_t line = 0; line < lines; ++line)
      for (std::int64_t along = 0; along < length; ++along)
        out[line * pitch + along] = from[along * step_along + Step * line];
    return;
  }
  alignas(64) T tile[kSize][kSize];
  for (std::int64_t along = 0; along < kSize; ++along)
    for (std::int64_t line = 0; line < kSize; ++line) tile[along][line] = from[along * step_along + Step * line];
  for (std::int64_t line = 0; line < kSize; ++line)
    for (std::int64_t along = 0; along < kSize; ++along) out[line * pitch + along] = tile[along][line];
}

// A plane whose lines along one axis become lines along the other.
template <int Step, typename T>
void transpose_plane(const T* from, std::int64_t step_along, T* out, std::int64_t pitch, std::int64_t lines,
                     std::int64_t length) {
  for (std::int64_t line = 0; line < lines; line += kTile<T>)
    for (std::int64_t along = 0; along < length; along += kTile<T>)
      transpose_tile<Step>(from + Step * line + along * step_along, step_along, out + line * pitch + along, pitch,
                           std::min(kTile<T>, lines - line), std::min(kTile<T>, length - along));
}

template <typename T>
void copy_row(const T* from, std::int64_t size, bool reversed, T* out) {
  if (reversed)
    std::reverse_copy(from, from + size, out);
  else
    std::copy(from, from + size, out);
}

// Where rows stay rows, they change places in place: along each cycle of places, with the first row kept aside.
template <typename T>
void permute_rows(Workspace& workspace, T* data, const Index3& shape, const AxisPermutation& permutation) {
  const std::int64_t size = shape[2], rows = shape[0] * shape[1];
  const bool reversed = permutation.reversed[2];
  const auto source_of = [&](std::int64_t row) {
    const std::int64_t at[2] = {row / shape[1], row % shape[1]};
    std::int64_t source[2];
    for (int axis = 0; axis < 2; ++axis)
      source[permutation.from[axis]] = permutation.reversed[axis] ? shape[axis] - 1 - at[axis] : at[axis];
    return source[0] * shape[1] + source[1];
  };
  T* const aside = workspace.scratch<T>(0, size);
  auto* const done = workspace.scratch<std::uint8_t>(1, rows);
  std::fill(done, done + rows, std::uint8_t{0});
  for (std::int64_t first = 0; first < rows; ++first) {
    if (done[first]) continue;
    std::int64_t row = first, source = source_of(first);
    if (source == first && !reversed) continue;
    std::copy(data + first * size, data + (first + 1) * size, aside);
    for (; source != first; row = source, source = source_of(row)) {
      copy_row(data + source * size, size, reversed, data + row * size);
      done[row] = 1;
    }
    copy_row(aside, size, reversed, data + row * size);
    done[row] = 1;
  }
}

template <typename T>
void permute_channel(Workspace& workspace, T* data, const Index3& shape, const AxisPermutation& permutation) {
  if (permutation.from[2] == 2) return permute_rows(workspace, data, shape, permutation);
  if (permutation.from[0] == 0 && !permutation.reversed[0] && shape[0] > 1) {
    // Planes stay where they are: one at a time, and the copy stays in the cache.
    for (std::int64_t x = 0; x < shape[0]; ++x)
      permute_channel(workspace, data + x * shape[1] * shape[2], {1, shape[1], shape[2]}, permutation);
    return;
  }
  T* const copy = workspace.scratch<T>(0, voxels(shape));
  std::memcpy(copy, data, static_cast<std::size_t>(voxels(shape)) * sizeof(T));
  const Steps steps(permutation, shape);
  // The axis that Z becomes, and the one that is neither Z nor that.
  const int line = permutation.from[0] == 2 ? 0 : 1, other = 1 - line;
  const std::int64_t pitches[2] = {shape[1] * shape[2], shape[2]};
  for (std::int64_t at = 0; at < shape[other]; ++at) {
    const T* const from = copy + steps.offset + at * steps.step[other];
    T* const out = data + at * pitches[other];
    if (permutation.reversed[line])
      transpose_plane<-1>(from, steps.step[2], out, pitches[line], shape[line], shape[2]);
    else
      transpose_plane<1>(from, steps.step[2], out, pitches[line], shape[line], shape[2]);
  }
}

template <typename T>
void permute_channels(Workspace& workspace, T* data, std::int64_t channels, const Index3& shape,
                      const AxisPermutation& permutation) {
  for (std::int64_t c = 0; c < channels; ++c) permute_channel(workspace, data + c * voxels(shape), shape, permutation);
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
