// MedianFilterTransform: the median of a cube around each voxel, as scipy.ndimage.median_filter with its default border
// (the voxel at the border is repeated) and, for even sizes, its window one voxel to the front.
//
// Of a small window, many medians are found at once with minima and maxima. For a larger one the image is worked on in
// tiles that are small enough for the cache. The values of a tile are ranked once; after that the window is a set of
// ranks, one bit each. A step along Z takes out one side of the window and puts in another, and the median moves by a
// few words.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/simd/clones.h"
#include "fastnnunet/base/simd/float_key.h"
#include "fastnnunet/sample/statistics.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet {
namespace {

constexpr const char* kName = "MedianFilterTransform";
constexpr std::int64_t kLargestSize = 100;
constexpr std::int64_t kFew = 27;              // voxels of a window that counts as small
constexpr std::int64_t kLanes = 64;            // medians that are found at once
constexpr std::int64_t kTileVoxels = 1 << 16;  // with the borders that its windows need

// The voxel that stands behind a border: ... b a | a b c ... c | c b ...
std::int64_t reflected(std::int64_t at, std::int64_t size) {
  const std::int64_t period = 2 * size;
  at = (at % period + period) % period;
  return at < size ? at : period - 1 - at;
}

// A channel whose rows have the borders that windows reach into, along Z and with room for whole blocks of lanes.
struct Padded {
  const float* values;
  Index3 shape;       // of the channel
  std::int64_t size;  // of the window along Z

  static std::int64_t row_length(const Index3& shape, std::int64_t size) { return shape[2] + size - 1; }
  static std::int64_t count(const Index3& shape, std::int64_t size) {
    return shape[0] * shape[1] * row_length(shape, size) + kLanes;
  }

  // `memory` has room for count().
  Padded(const float* channel, const Index3& of, std::int64_t window, float* memory)
      : values(memory), shape(of), size(window) {
    const std::int64_t front = size / 2;
    for (std::int64_t row = 0; row < shape[0] * shape[1]; ++row, channel += shape[2]) {
      for (std::int64_t z = 0; z < front; ++z) memory[z] = channel[reflected(z - front, shape[2])];
      std::copy_n(channel, shape[2], memory + front);
      for (std::int64_t z = front + shape[2]; z < row_length(shape, size); ++z)
        memory[z] = channel[reflected(z - front, shape[2])];
      memory += row_length(shape, size);
    }
    std::fill_n(memory, kLanes, 0.0f);
  }

  // The row at (x, y), which may lie behind a border; it begins with the first window's first voxel.
  const float* row(std::int64_t x, std::int64_t y) const {
    return values + (reflected(x, shape[0]) * shape[1] + reflected(y, shape[1])) * row_length(shape, size);
  }
};

// Sizes of the window and of a tile, without and with the borders.
struct Layout {
  Index3 window;
  Index3 tile;

  Layout(std::int64_t size, const Index3& shape, int dims) : window{dims == 3 ? size : 1, size, size} {
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

  Index3 padded() const { return padded(tile); }
  Index3 padded(const Index3& of) const {
    return {of[0] + window[0] - 1, of[1] + window[1] - 1, of[2] + window[2] - 1};
  }
  static std::int64_t words(std::int64_t ranks) { return (ranks + 63) / 64; }
};

FASTNNUNET_INLINE void order(float* FASTNNUNET_RESTRICT low, float* FASTNNUNET_RESTRICT high) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const float a = low[lane], b = high[lane];
    low[lane] = a < b ? a : b;
    high[lane] = a < b ? b : a;
  }
}

// Medians along one row. The window's rows are readable for kLanes values behind the last window.
//
// The smallest and the largest of half the values and two more cannot be the median: they go, another value comes, and
// so on until one is left between two.
FASTNNUNET_CLONES
void median_row_of_few(const float* const* rows, std::int64_t row_count, std::int64_t size,
                       float* FASTNNUNET_RESTRICT out, std::int64_t count) {
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

// A value's key in the upper half, its place in the tile in the lower one.
using Entry = std::uint64_t;

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

// Medians of one row of a tile; `row` is the first voxel of its first window.
FASTNNUNET_CLONES
void median_row(const Ranks& ranks, Window& state, std::int64_t row, std::int64_t size, std::int64_t count,
                std::int64_t median, float* FASTNNUNET_RESTRICT out) {
  std::uint64_t* FASTNNUNET_RESTRICT words = state.words;
  const std::uint32_t* FASTNNUNET_RESTRICT of = ranks.of + row;
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
    out[z] = float_of_key(static_cast<std::uint32_t>(ranks.sorted[word * 64 + std::countr_zero(left)] >> 32));
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

struct MedianParameters : Parameters {
  // One of each for each channel of the image.
  std::vector<std::int64_t> apply;
  std::vector<std::int64_t> sizes;
};

class MedianFilter final : public ImageTransformOf<MedianParameters> {
 public:
  explicit MedianFilter(const Record& attributes)
      : p_same_for_each_channel_(attributes.probability("p_same_for_each_channel")),
        probability_(attributes.probability("p_per_channel")) {
    const std::vector<std::int64_t> range = attributes.integers("filter_size");
    if (range.size() != 2 || range[0] > range[1])
      throw InvalidArgument(kName, "'filter_size' of two numbers, the lower one first",
                            std::to_string(range.size()) + " numbers");
    for (const std::int64_t size : range) check_size(size);
    smallest_ = range[0];
    largest_ = range[1];
  }

  std::string_view name() const override { return kName; }

  Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    std::int64_t most = 0;
    for (std::int64_t size = smallest_; size <= largest_; ++size)
      most = std::max(most, voxels(Layout(size, geometry.shape, geometry.dims).padded()));
    const auto bytes = [](std::int64_t count, std::size_t each) { return static_cast<std::size_t>(count) * each; };
    return {bytes(Padded::count(geometry.shape, largest_), sizeof(float)),
            bytes(most, sizeof(Entry)),
            bytes(most, sizeof(Entry)),
            bytes(most, sizeof(std::uint32_t)),
            bytes(Layout::words(most), sizeof(std::uint64_t)),
            bytes(largest_ * largest_, sizeof(std::int64_t))};
  }

 protected:
  void draw(Stream& stream, const Geometry& geometry, MedianParameters& p) const override {
    const auto channels = static_cast<std::size_t>(geometry.image_channels);
    const bool same = stream.bernoulli(p_same_for_each_channel_);
    p.sizes.clear();
    for (std::size_t i = 0; i < channels; ++i)
      p.sizes.push_back(same && i > 0 ? p.sizes[0] : stream.integer(smallest_, largest_));
    draw_flags(stream, geometry.image_channels, probability_, p.apply);
  }

  bool acts(const MedianParameters& p) const override {
    for (std::size_t i = 0; i < p.apply.size(); ++i)
      if (p.apply[i] != 0 && p.sizes[i] > 1) return true;
    return false;
  }

  void apply(Sample& sample, const MedianParameters& p, const Stream&) const override {
    Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.apply.size(); ++i) {
      if (p.apply[i] == 0 || p.sizes[i] == 1) continue;
      const auto channel = static_cast<std::int64_t>(i);
      const Layout layout(p.sizes[i], image.shape, sample.dims());
      const Padded before(image.channel(channel), image.shape, p.sizes[i],
                          sample.workspace().scratch<float>(0, Padded::count(image.shape, p.sizes[i])));
      if (std::isnan(extent(image.channel_span(channel)).minimum))
        filter_with_nan(sample.workspace(), layout, before, image.channel(channel));
      else if (voxels(layout.window) <= kFew)
        filter_few(layout, before, image.channel(channel));
      else
        filter(sample.workspace(), layout, before, image.channel(channel));
    }
  }

  Record describe(const MedianParameters& p) const override {
    Record record{kName};
    record.set("apply_channel", to_numbers(p.apply));
    record.set("filter_sizes", to_numbers(p.sizes));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, MedianParameters& p) const override {
    p.apply = restore_flags(record, "apply_channel", geometry);
    restore_per_channel(record, "filter_sizes", geometry);
    p.sizes = record.integers("filter_sizes");
    for (const std::int64_t size : p.sizes) check_size(size);
  }

 private:
  static void check_size(std::int64_t size) {
    if (size < 1 || size > kLargestSize)
      throw InvalidArgument(kName, "a filter size between 1 and " + std::to_string(kLargestSize), std::to_string(size));
  }

  static void filter_few(const Layout& layout, const Padded& in, float* out) {
    const Index3& window = layout.window;
    const float* rows[kFew];
    for (std::int64_t x = 0; x < in.shape[0]; ++x)
      for (std::int64_t y = 0; y < in.shape[1]; ++y, out += in.shape[2]) {
        std::int64_t count = 0;
        for (std::int64_t dx = 0; dx < window[0]; ++dx)
          for (std::int64_t dy = 0; dy < window[1]; ++dy)
            rows[count++] = in.row(x + dx - window[0] / 2, y + dy - window[1] / 2);
        median_row_of_few(rows, count, window[2], out, in.shape[2]);
      }
  }

  static void filter(Workspace& workspace, const Layout& layout, const Padded& in, float* out) {
    const Index3& shape = in.shape;
    for (std::int64_t x = 0; x < shape[0]; x += layout.tile[0])
      for (std::int64_t y = 0; y < shape[1]; y += layout.tile[1])
        for (std::int64_t z = 0; z < shape[2]; z += layout.tile[2]) {
          const Index3 end{std::min(x + layout.tile[0], shape[0]), std::min(y + layout.tile[1], shape[1]),
                           std::min(z + layout.tile[2], shape[2])};
          filter_tile(workspace, layout, in, {{x, y, z}, end}, out);
        }
  }

  static void filter_tile(Workspace& workspace, const Layout& layout, const Padded& in, const Box& tile, float* out) {
    const Index3& shape = in.shape;
    const Index3& window = layout.window;
    const Index3 padded = layout.padded(tile.shape());
    const std::int64_t count = voxels(padded);
    Entry* entries = workspace.scratch<Entry>(1, count);
    Entry* other = workspace.scratch<Entry>(2, count);
    auto* ranks = workspace.scratch<std::uint32_t>(3, count);
    auto* words = workspace.scratch<std::uint64_t>(4, Layout::words(count));
    auto* starts = workspace.scratch<std::int64_t>(5, window[0] * window[1]);

    std::int64_t place = 0;
    for (std::int64_t x = 0; x < padded[0]; ++x)
      for (std::int64_t y = 0; y < padded[1]; ++y) {
        const float* row = in.row(tile.lower[0] + x - window[0] / 2, tile.lower[1] + y - window[1] / 2) + tile.lower[2];
        for (std::int64_t z = 0; z < padded[2]; ++z, ++place)
          entries[place] = (Entry{float_key(row[z])} << 32) | static_cast<std::uint32_t>(place);
      }
    const Entry* by_rank = sorted(entries, other, count);
    for (std::int64_t rank = 0; rank < count; ++rank)
      ranks[static_cast<std::uint32_t>(by_rank[rank])] = static_cast<std::uint32_t>(rank);
    for (std::int64_t x = 0; x < window[0]; ++x)
      for (std::int64_t y = 0; y < window[1]; ++y) starts[x * window[1] + y] = (x * padded[1] + y) * padded[2];

    std::fill_n(words, Layout::words(count), 0);
    Window state{words};
    const Ranks all{ranks, by_rank, starts, window[0] * window[1]};
    for (std::int64_t x = 0; x < tile.shape()[0]; ++x)
      for (std::int64_t y = 0; y < tile.shape()[1]; ++y)
        median_row(all, state, (x * padded[1] + y) * padded[2], window[2], tile.shape()[2], voxels(window) / 2,
                   out + ((tile.lower[0] + x) * shape[1] + tile.lower[1] + y) * shape[2] + tile.lower[2]);
  }

  static void filter_with_nan(Workspace& workspace, const Layout& layout, const Padded& in, float* out) {
    const Index3& window = layout.window;
    auto* values = workspace.scratch<float>(1, voxels(window));
    for (std::int64_t x = 0; x < in.shape[0]; ++x)
      for (std::int64_t y = 0; y < in.shape[1]; ++y)
        for (std::int64_t z = 0; z < in.shape[2]; ++z) {
          float* next = values;
          for (std::int64_t dx = 0; dx < window[0]; ++dx)
            for (std::int64_t dy = 0; dy < window[1]; ++dy)
              next = std::copy_n(in.row(x + dx - window[0] / 2, y + dy - window[1] / 2) + z, window[2], next);
          *out++ = select(values, 0, voxels(window) - 1, voxels(window) / 2);
        }
  }

  std::int64_t smallest_;
  std::int64_t largest_;
  double p_same_for_each_channel_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_median_filter(const Record& attributes) {
  return std::make_unique<MedianFilter>(attributes);
}

}  // namespace fastnnunet
