// Of a small window, many medians are found at once with minima and maxima, by forgetful selection. For a larger one
// the image is worked on in tiles that are small enough for the cache. The values of a tile are ranked once; after that
// the window is a set of ranks, one bit each (a running median, as Huang's on histograms). A step along Z takes out one
// side of the window and puts in another, and the median moves by a few words.
#include "fastnnunet/transforms/noise/medians.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "fastnnunet/base/border.h"
#include "fastnnunet/base/simd/float_key.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/noise/medians.cpp"
#include "fastnnunet/base/simd/targets.h"

#if !defined(FASTNNUNET_TRANSFORMS_NOISE_MEDIANS_TYPES)
#define FASTNNUNET_TRANSFORMS_NOISE_MEDIANS_TYPES
namespace fastnnunet::transforms {
namespace {

// A value's key in the upper half, its place in the tile in the lower one.
using Entry = std::uint64_t;

// The set of ranks in the window, and the word that holds the median's.
struct Window {
  std::uint64_t* words;
  std::int64_t word = 0;
  std::int64_t below = 0;  // ranks in the words before it
};

// The ranks of one tile.
struct Ranks {
  const std::uint32_t* of;  // each voxel's
  const Entry* sorted;      // entry of each rank
  const std::int64_t* starts;
  std::int64_t rows;  // of the window; `starts` holds where each begins, seen from its first voxel
};

}  // namespace
}  // namespace fastnnunet::transforms
#endif

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

constexpr std::int64_t kFew = 27;    // voxels of a window that counts as small
constexpr std::int64_t kLanes = 64;  // medians that are found at once

HWY_INLINE void order(float* HWY_RESTRICT low, float* HWY_RESTRICT high) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const float a = low[lane], b = high[lane];
    low[lane] = a < b ? a : b;
    high[lane] = a < b ? b : a;
  }
}

// Medians along one row. The window's rows are readable for kLanes values behind the last window.
//
// Forgetful selection: the smallest and the largest of half the values and two more cannot be the median: they go,
// another value comes, and so on until one is left between two.
void median_row_of_few(const float* const* rows, std::int64_t row_count, std::int64_t size, float* HWY_RESTRICT out,
                       std::int64_t count) {
  const std::int64_t given = row_count * size;
  const std::int64_t total =
      given | 1;  // of an even number the upper one in the middle: with infinity it is the only one
  float window[kFew][kLanes];
  for (std::int64_t begin = 0; begin < count; begin += kLanes) {
    for (std::int64_t row = 0; row < row_count; ++row)
      for (std::int64_t z = 0; z < size; ++z) std::copy_n(rows[row] + begin + z, kLanes, window[row * size + z]);
    if (total != given) std::fill_n(window[given], kLanes, std::numeric_limits<float>::infinity());
    std::int64_t next = total / 2 + 2;
    for (std::int64_t kept = next;; --kept) {
      const std::int64_t last = kept - 1;
      for (std::int64_t i = 0; i < kept / 2; ++i) order(window[i], window[last - i]);
      for (std::int64_t i = 1; i < (kept + 1) / 2; ++i) order(window[0], window[i]);
      for (std::int64_t i = kept / 2; i < last; ++i) order(window[i], window[last]);
      if (kept == 3) break;
      std::copy_n(window[next++], kLanes, window[0]);
    }
    std::copy_n(window[1], std::min(kLanes, count - begin), out + begin);
  }
}

// Medians of one row of a tile; `row` is the first voxel of its first window.
void median_row(const Ranks& ranks, Window& state, std::int64_t row, std::int64_t size, std::int64_t count,
                std::int64_t median, float* HWY_RESTRICT out) {
  std::uint64_t* HWY_RESTRICT words = state.words;
  const std::uint32_t* HWY_RESTRICT of = ranks.of + row;
  std::int64_t word = state.word, below = 0;
  for (std::int64_t i = 0; i < ranks.rows; ++i)
    for (std::int64_t z = 0; z < size; ++z) {
      const std::uint32_t rank = of[ranks.starts[i] + z];
      words[rank >> 6] |= std::uint64_t{1} << (rank & 63u);
      below += static_cast<std::int64_t>(rank >> 6) < word;
    }
  for (std::int64_t z = 0;; ++z) {
    while (below > median) below -= std::popcount(words[--word]);
    for (std::int64_t here; (here = std::popcount(words[word])) <= median - below; ++word) below += here;
    std::uint64_t left = words[word];
    for (std::int64_t skip = median - below; skip > 0; --skip) left &= left - 1;
    out[z] = simd::float_of_key(static_cast<std::uint32_t>(ranks.sorted[word * 64 + std::countr_zero(left)] >> 32));
    if (z + 1 == count) break;
    for (std::int64_t i = 0; i < ranks.rows; ++i) {
      const std::uint32_t* at = of + ranks.starts[i] + z;
      const std::uint32_t leaves = at[0], enters = at[size];
      words[leaves >> 6] ^= std::uint64_t{1} << (leaves & 63u);
      words[enters >> 6] |= std::uint64_t{1} << (enters & 63u);
      below += static_cast<std::int64_t>(enters >> 6) < word;
      below -= static_cast<std::int64_t>(leaves >> 6) < word;
    }
  }
  for (std::int64_t i = 0; i < ranks.rows; ++i)
    for (std::int64_t z = 0; z < size; ++z) words[of[ranks.starts[i] + count - 1 + z] >> 6] = 0;
  state.word = word;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

using HWY_NAMESPACE::kFew;
using HWY_NAMESPACE::kLanes;
FASTNNUNET_DISPATCH(median_row_of_few);
FASTNNUNET_DISPATCH(median_row);

constexpr std::int64_t kTileVoxels = 1 << 16;  // with the borders that its windows need

std::int64_t words_of(std::int64_t ranks) { return (ranks + 63) / 64; }

// Sorts by the upper half; the result is in `entries`, or in `other`: the one that is given back.
Entry* sorted(Entry* entries, Entry* other, std::int64_t count) {
  constexpr int kDigit = 11;
  constexpr std::uint32_t kMask = (1u << kDigit) - 1;
  std::uint32_t counts[3][1 << kDigit] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto key = static_cast<std::uint32_t>(entries[i] >> 32);
    ++counts[0][key & kMask];
    ++counts[1][(key >> kDigit) & kMask];
    ++counts[2][key >> (2 * kDigit)];
  }
  for (int digit = 0; digit < 3; ++digit) {
    std::uint32_t next = 0;
    for (std::uint32_t& number : counts[digit]) number = std::exchange(next, next + number);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto key = static_cast<std::uint32_t>(entries[i] >> 32);
      other[counts[digit][(key >> (digit * kDigit)) & kMask]++] = entries[i];
    }
    std::swap(entries, other);
  }
  return entries;
}

// Hoare's selection around the first value, as in SciPy: with NaN among them, what it finds depends on the way.
float select(float* values, std::int64_t first, std::int64_t last, std::int64_t rank) {
  while (first < last) {
    const float pivot = values[first];
    std::int64_t low = first - 1, high = last + 1;
    for (;;) {
      do --high;
      while (values[high] > pivot);
      do ++low;
      while (values[low] < pivot);
      if (low >= high) break;
      std::swap(values[low], values[high]);
    }
    const std::int64_t left = high - first + 1;
    if (rank < left) {
      last = high;
    } else {
      first = high + 1;
      rank -= left;
    }
  }
  return values[first];
}

void filter_tile(sample::Workspace& workspace, const MedianTiles& tiles, const PaddedRows& in, const Box& tile,
                 float* out) {
  const Index3& shape = in.shape();
  const Index3& window = tiles.window;
  const Index3 padded = tiles.padded(tile.shape());
  const std::int64_t count = voxels(padded);
  Entry* entries = workspace.scratch<Entry>(1, count);
  Entry* other = workspace.scratch<Entry>(2, count);
  auto* ranks = workspace.scratch<std::uint32_t>(3, count);
  auto* words = workspace.scratch<std::uint64_t>(4, words_of(count));
  auto* starts = workspace.scratch<std::int64_t>(5, window[0] * window[1]);

  std::int64_t place = 0;
  for (std::int64_t x = 0; x < padded[0]; ++x)
    for (std::int64_t y = 0; y < padded[1]; ++y) {
      const float* row = in.row(tile.lower[0] + x - window[0] / 2, tile.lower[1] + y - window[1] / 2) + tile.lower[2];
      for (std::int64_t z = 0; z < padded[2]; ++z, ++place)
        entries[place] = (Entry{simd::float_key(row[z])} << 32) | static_cast<std::uint32_t>(place);
    }
  const Entry* by_rank = sorted(entries, other, count);
  for (std::int64_t rank = 0; rank < count; ++rank)
    ranks[static_cast<std::uint32_t>(by_rank[rank])] = static_cast<std::uint32_t>(rank);
  for (std::int64_t x = 0; x < window[0]; ++x)
    for (std::int64_t y = 0; y < window[1]; ++y) starts[x * window[1] + y] = (x * padded[1] + y) * padded[2];

  std::fill_n(words, words_of(count), 0);
  Window state{words};
  const Ranks all{ranks, by_rank, starts, window[0] * window[1]};
  for (std::int64_t x = 0; x < tile.shape()[0]; ++x)
    for (std::int64_t y = 0; y < tile.shape()[1]; ++y)
      median_row(all, state, (x * padded[1] + y) * padded[2], window[2], tile.shape()[2], voxels(window) / 2,
                 out + ((tile.lower[0] + x) * shape[1] + tile.lower[1] + y) * shape[2] + tile.lower[2]);
}

void filter(sample::Workspace& workspace, const MedianTiles& tiles, const PaddedRows& in, float* out) {
  const Index3& shape = in.shape();
  for (std::int64_t x = 0; x < shape[0]; x += tiles.tile[0])
    for (std::int64_t y = 0; y < shape[1]; y += tiles.tile[1])
      for (std::int64_t z = 0; z < shape[2]; z += tiles.tile[2]) {
        const Index3 end{std::min(x + tiles.tile[0], shape[0]), std::min(y + tiles.tile[1], shape[1]),
                         std::min(z + tiles.tile[2], shape[2])};
        filter_tile(workspace, tiles, in, {{x, y, z}, end}, out);
      }
}

void filter_few(const MedianTiles& tiles, const PaddedRows& in, float* out) {
  const Index3& window = tiles.window;
  const float* rows[kFew];
  for (std::int64_t x = 0; x < in.shape()[0]; ++x)
    for (std::int64_t y = 0; y < in.shape()[1]; ++y, out += in.shape()[2]) {
      std::int64_t count = 0;
      for (std::int64_t dx = 0; dx < window[0]; ++dx)
        for (std::int64_t dy = 0; dy < window[1]; ++dy)
          rows[count++] = in.row(x + dx - window[0] / 2, y + dy - window[1] / 2);
      median_row_of_few(rows, count, window[2], out, in.shape()[2]);
    }
}

void filter_with_nan(sample::Workspace& workspace, const MedianTiles& tiles, const PaddedRows& in, float* out) {
  const Index3& window = tiles.window;
  auto* values = workspace.scratch<float>(1, voxels(window));
  for (std::int64_t x = 0; x < in.shape()[0]; ++x)
    for (std::int64_t y = 0; y < in.shape()[1]; ++y)
      for (std::int64_t z = 0; z < in.shape()[2]; ++z) {
        float* next = values;
        for (std::int64_t dx = 0; dx < window[0]; ++dx)
          for (std::int64_t dy = 0; dy < window[1]; ++dy)
            next = std::copy_n(in.row(x + dx - window[0] / 2, y + dy - window[1] / 2) + z, window[2], next);
        *out++ = select(values, 0, voxels(window) - 1, voxels(window) / 2);
      }
}

}  // namespace

std::int64_t PaddedRows::count(const Index3& shape, std::int64_t size) {
  return shape[0] * shape[1] * row_length(shape, size) + kLanes;
}

PaddedRows::PaddedRows(const float* channel, const Index3& shape, std::int64_t size, float* memory)
    : values_(memory), shape_(shape), size_(size) {
  const std::int64_t front = size / 2;
  for (std::int64_t row = 0; row < shape[0] * shape[1]; ++row, channel += shape[2]) {
    for (std::int64_t z = 0; z < front; ++z) memory[z] = channel[base::mirrored_with_edge(z - front, shape[2])];
    std::copy_n(channel, shape[2], memory + front);
    for (std::int64_t z = front + shape[2]; z < row_length(shape, size); ++z)
      memory[z] = channel[base::mirrored_with_edge(z - front, shape[2])];
    memory += row_length(shape, size);
  }
  std::fill_n(memory, kLanes, 0.0f);
}

const float* PaddedRows::row(std::int64_t x, std::int64_t y) const {
  const std::int64_t number =
      base::mirrored_with_edge(x, shape_[0]) * shape_[1] + base::mirrored_with_edge(y, shape_[1]);
  return values_ + number * row_length(shape_, size_);
}

MedianTiles::MedianTiles(std::int64_t size, const Index3& shape, int dims) : window{dims == 3 ? size : 1, size, size} {
  tile = {1, 1, std::min<std::int64_t>(shape[2], 256)};
  while (tile[2] > 1 && voxels(padded()) > kTileVoxels) tile[2] = (tile[2] + 1) / 2;
  for (bool grows = true; grows;) {
    grows = false;
    for (const int axis : {0, 1}) {
      if (tile[axis] == shape[axis]) continue;
      ++tile[axis];
      if (voxels(padded()) > kTileVoxels)
        --tile[axis];
      else
        grows = true;
    }
  }
}

sample::Workspace::ScratchSizes median_scratch(std::int64_t voxels, std::int64_t size) {
  const auto bytes = [](std::int64_t count, std::size_t each) { return static_cast<std::size_t>(count) * each; };
  return {0,
          bytes(voxels, sizeof(Entry)),
          bytes(voxels, sizeof(Entry)),
          bytes(voxels, sizeof(std::uint32_t)),
          bytes(words_of(voxels), sizeof(std::uint64_t)),
          bytes(size * size, sizeof(std::int64_t))};
}

void filter_median(sample::Workspace& workspace, const MedianTiles& tiles, const PaddedRows& in, bool has_nan,
                   float* out) {
  if (has_nan)
    filter_with_nan(workspace, tiles, in, out);
  else if (voxels(tiles.window) <= kFew)
    filter_few(tiles, in, out);
  else
    filter(workspace, tiles, in, out);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
