#include "fastnnunet/sample/moves/permute.h"

#include <algorithm>
#include <cstring>

#include "fastnnunet/sample/moves/flips.h"

namespace fastnnunet::sample {
namespace {

// Where the result's voxel (i, j, k) lies in the source: offset + i * step[0] + j * step[1] + k * step[2].
struct Steps {
  std::int64_t offset = 0;
  std::int64_t step[3];

  Steps(const AxisPermutation& permutation, const Index3& shape, const Index3& strides) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      step[axis] = strides[static_cast<std::size_t>(permutation.from[axis])];
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
void transpose_tile(const T* __restrict from, std::int64_t step_along, T* __restrict out, std::int64_t pitch,
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

// Where rows stay rows, they change places in place: along each cycle of places, with the first row kept aside.
template <typename T>
void permute_rows(Workspace& workspace, T* data, const Index3& shape, const AxisPermutation& permutation) {
  const std::int64_t size = shape[2], rows = shape[0] * shape[1];
  const bool reversed = permutation.reversed[2];
  const auto source_of = [&](std::int64_t row) {
    const std::int64_t at[2] = {row / shape[1], row % shape[1]};
    std::int64_t source[2];
    for (std::size_t axis = 0; axis < 2; ++axis)
      source[permutation.from[axis]] = flipped(at[axis], shape[axis], permutation.reversed[axis]);
    return source[0] * shape[1] + source[1];
  };
  T* const aside = workspace.scratch<T>(0, size);
  auto* const done = workspace.scratch<std::uint8_t>(4, rows);
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
void copy_planes(const T* from, const Index3& strides, const Index3& shape, const AxisPermutation& permutation,
                 std::int64_t begin, std::int64_t end, T* out) {
  const Steps steps(permutation, shape, strides);
  from += steps.offset;
  const std::int64_t plane = shape[1] * shape[2], row = shape[2];
  if (permutation.from[2] == 2) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < shape[1]; ++j) {
        const T* const source = from + i * steps.step[0] + j * steps.step[1];
        copy_row(permutation.reversed[2] ? source - (row - 1) : source, row, permutation.reversed[2],
                 out + i * plane + j * row);
      }
    return;
  }
  // Rows of the source go along X or Y of the result.
  const bool along_x = permutation.from[0] == 2;
  const bool reversed = permutation.reversed[along_x ? 0 : 1];
  const auto transpose = [&](const T* source, T* to, std::int64_t pitch, std::int64_t lines) {
    if (reversed)
      transpose_plane<-1>(source, steps.step[2], to, pitch, lines, row);
    else
      transpose_plane<1>(source, steps.step[2], to, pitch, lines, row);
  };
  if (along_x) {
    for (std::int64_t j = 0; j < shape[1]; ++j)
      transpose(from + begin * steps.step[0] + j * steps.step[1], out + begin * plane + j * row, plane, end - begin);
  } else {
    for (std::int64_t i = begin; i < end; ++i) transpose(from + i * steps.step[0], out + i * plane, row, shape[1]);
  }
}

}  // namespace

template <typename T>
void copy_permuted(const Workspace& workspace, const T* from, const Index3& strides, const Index3& shape,
                   const AxisPermutation& permutation, T* out) {
  workspace.share(shape[0], [&](std::int64_t begin, std::int64_t end) {
    copy_planes(from, strides, shape, permutation, begin, end, out);
  });
}

template <typename T>
void permute_in_place(Workspace& workspace, T* data, const Index3& shape, const AxisPermutation& permutation) {
  if (!permutation.changes()) return;
  const std::int64_t plane = shape[1] * shape[2];
  if (permutation.only_flips()) {
    workspace.share(shape[0],
                    [&](std::int64_t begin, std::int64_t end) { flip(data, shape, permutation.reversed, begin, end); });
  } else if (permutation.from[2] == 2) {
    permute_rows(workspace, data, shape, permutation);
  } else if (permutation.from[0] == 0 && !permutation.reversed[0]) {
    // Planes stay where they are: one at a time, and the copy stays in the cache.
    T* const copy = workspace.scratch<T>(0, plane);
    for (std::int64_t x = 0; x < shape[0]; ++x) {
      std::copy(data + x * plane, data + (x + 1) * plane, copy);
      copy_planes(copy, {plane, shape[2], 1}, {1, shape[1], shape[2]}, permutation, 0, 1, data + x * plane);
    }
  } else {
    T* const copy = workspace.scratch<T>(0, voxels(shape));
    std::memcpy(copy, data, static_cast<std::size_t>(voxels(shape)) * sizeof(T));
    copy_permuted(workspace, copy, {plane, shape[2], 1}, shape, permutation, data);
  }
}

template void copy_permuted(const Workspace&, const float*, const Index3&, const Index3&, const AxisPermutation&,
                            float*);
template void copy_permuted(const Workspace&, const std::int16_t*, const Index3&, const Index3&, const AxisPermutation&,
                            std::int16_t*);
template void permute_in_place(Workspace&, float*, const Index3&, const AxisPermutation&);
template void permute_in_place(Workspace&, std::int16_t*, const Index3&, const AxisPermutation&);
template void permute_in_place(Workspace&, std::uint8_t*, const Index3&, const AxisPermutation&);

}  // namespace fastnnunet::sample
