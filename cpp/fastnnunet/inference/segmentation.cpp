#include "fastnnunet/inference/segmentation.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/base/parallel.h"
#include "fastnnunet/inference/kernels.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/resampling/checks.h"

namespace fastnnunet::inference {
namespace {

constexpr const char* kPlace = "logits_to_segmentation";

std::size_t count_of(std::int64_t n) { return static_cast<std::size_t>(n); }

// Rows of the result that are worked on together: the logits around them are read once for all of them.
constexpr std::int64_t kTileRows = 16;

// What all threads share and none changes: one slab.
template <typename T, typename Label>
struct Job {
  const Logits& logits;  // of the slab
  // Of the whole, but for new_shape and offset, which are the part of the result that the slab decides.
  const SegmentationOptions options;
  const resampling::LinearAxes axes;  // from that part to the slab
  std::vector<float> z_weight;
  const std::vector<Label>& labels;  // of each winner
  Label* out;
  const Probabilities* probabilities;

  const T* row(std::int64_t channel, std::int64_t x, std::int64_t y) const {
    return static_cast<const T*>(logits.data) + channel * logits.channel_stride + x * logits.x_stride +
           y * logits.y_stride;
  }
  bool regions() const { return !options.regions.empty(); }
  Label* out_row(std::int64_t x, std::int64_t y) const {
    const Index3& shape = options.image_shape;
    return out + ((x + options.offset[0]) * shape[1] + y + options.offset[1]) * shape[2] + options.offset[2];
  }
};

// A part of a tile's row that has to be interpolated.
struct Run {
  std::int64_t row;  // of the tile
  std::int64_t begin;
  std::int64_t end;
  std::int64_t first;  // the logits' voxels along z that it needs
  std::int64_t last;
};

// One thread: planes of the result, one after another.
template <typename T, typename Label>
class Worker {
 public:
  explicit Worker(const Job<T, Label>& job)
      : job_(job), from_(job.logits.shape), to_(job.options.new_shape), blocks_((to_[2] + kBlock - 1) / kBlock) {
    undecided_.resize(count_of(blocks_));
    common_ = common_buffer_.reserve<std::int32_t>(count_of(from_[2]));
    mixed_ = mixed_buffer_.reserve<float>(count_of(from_[2]));
    winners_ = winners_buffer_.reserve<std::int32_t>(count_of(kTileRows * to_[2]));
    best_ = best_buffer_.reserve<float>(count_of(kTileRows * to_[2]));
  }

  void plane(std::int64_t x) {
    for (std::int64_t y = 0; y < to_[1]; y += kTileRows) {
      const std::int64_t rows = std::min(kTileRows, to_[1] - y);
      runs_.clear();
      if (job_.probabilities == nullptr)
        decide_where_neighbours_agree(x, y, rows);
      else
        for (std::int64_t row = 0; row < rows; ++row) add_run(row, 0, to_[2]);
      interpolate_runs(x, y);
      for (std::int64_t row = 0; row < rows; ++row) {
        Label* to = job_.out_row(x, y + row);
        const std::int32_t* winners = winners_ + row * to_[2];
        for (std::int64_t z = 0; z < to_[2]; ++z) to[z] = job_.labels[count_of(winners[z])];
      }
      if (job_.probabilities != nullptr) write_probabilities(x, y, rows);
    }
  }

 private:
  // The winners of a plane of logits, (Y, Z). Of two neighbouring planes both are kept.
  const std::int32_t* winners_of_plane(std::int64_t x) {
    auto& kept = kept_[x % 2];
    std::int32_t* winners = kept.winners.template reserve<std::int32_t>(count_of(from_[1] * from_[2]));
    if (kept.x != x)
      for (std::int64_t y = 0; y < from_[1]; ++y)
        winners_of_row(job_.row(0, x, y), job_.logits.channel_stride, job_.logits.channels, job_.regions(), from_[2],
                       winners + y * from_[2]);
    kept.x = x;
    return winners;
  }

  void decide_where_neighbours_agree(std::int64_t x, std::int64_t y, std::int64_t rows) {
    const resampling::LinearAxis& axis_x = job_.axes.axes[0];
    const resampling::LinearAxis& axis_y = job_.axes.axes[1];
    const resampling::LinearAxis& axis_z = job_.axes.axes[2];
    const std::int32_t* below = winners_of_plane(axis_x.lower[count_of(x)]);
    const std::int32_t* above = winners_of_plane(axis_x.upper[count_of(x)]);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t lower = axis_y.lower[count_of(y + row)] * from_[2];
      const std::int64_t upper = axis_y.upper[count_of(y + row)] * from_[2];
      common_winners(below + lower, below + upper, above + lower, above + upper, from_[2], common_);
      spread_winners(common_, axis_z.lower.data(), axis_z.upper.data(), to_[2], winners_ + row * to_[2],
                     undecided_.data());
      for (std::int64_t block = 0; block < blocks_; ++block) {
        if (undecided_[count_of(block)] == 0) continue;
        const std::int64_t begin = block;
        while (block < blocks_ && undecided_[count_of(block)] != 0) ++block;
        add_run(row, begin * kBlock, std::min(block * kBlock, to_[2]));
      }
    }
  }

  void add_run(std::int64_t row, std::int64_t begin, std::int64_t end) {
    const resampling::LinearAxis& z = job_.axes.axes[2];
    // Beyond the last voxel's centre the upper neighbour is the one before.
    const auto [first, last] = std::minmax(
        {z.lower[count_of(begin)], z.upper[count_of(begin)], z.lower[count_of(end - 1)], z.upper[count_of(end - 1)]});
    runs_.push_back({row, begin, end, first, last + 1});
    const float lowest = -std::numeric_limits<float>::infinity();
    std::fill(best_ + row * to_[2] + begin, best_ + row * to_[2] + end, lowest);
    std::fill(winners_ + row * to_[2] + begin, winners_ + row * to_[2] + end, 0);
  }

  Stretch<T> stretch(std::int64_t channel, std::int64_t x, std::int64_t y, const Run& run) const {
    const resampling::LinearAxis& axis_x = job_.axes.axes[0];
    const resampling::LinearAxis& axis_y = job_.axes.axes[1];
    const resampling::LinearAxis& axis_z = job_.axes.axes[2];
    const std::int64_t x0 = axis_x.lower[count_of(x)], x1 = axis_x.upper[count_of(x)];
    const std::int64_t y0 = axis_y.lower[count_of(y + run.row)], y1 = axis_y.upper[count_of(y + run.row)];
    return {
        {job_.row(channel, x0, y0), job_.row(channel, x0, y1), job_.row(channel, x1, y0), job_.row(channel, x1, y1)},
        static_cast<float>(axis_x.fraction[count_of(x)]),
        static_cast<float>(axis_y.fraction[count_of(y + run.row)]),
        run.first,
        run.last,
        axis_z.lower.data() + run.begin,
        axis_z.upper.data() + run.begin,
        job_.z_weight.data() + run.begin,
        run.end - run.begin};
  }

  void interpolate_runs(std::int64_t x, std::int64_t y) {
    for (std::int64_t channel = 0; channel < job_.logits.channels; ++channel)
      for (const Run& run : runs_) {
        const std::int64_t at = run.row * to_[2] + run.begin;
        const auto number = static_cast<std::int32_t>(channel);
        if (job_.regions())
          switch_regions(stretch(channel, x, y, run), number, mixed_, winners_ + at);
        else
          improve_winners(stretch(channel, x, y, run), number, mixed_, best_ + at, winners_ + at);
      }
  }

  float* probability_row(std::int64_t channel, std::int64_t x, std::int64_t y) const {
    const auto& target = *job_.probabilities;
    const Index3& offset = job_.options.offset;
    return target.data + channel * target.strides[0] + (x + offset[0]) * target.strides[1] +
           (y + offset[1]) * target.strides[2] + offset[2] * target.strides[3];
  }

  void write_probabilities(std::int64_t x, std::int64_t y, std::int64_t rows) {
    const std::int64_t step = job_.probabilities->strides[3];
    float* values = values_buffer_.reserve<float>(count_of(to_[2]));
    float* sums = sums_buffer_.reserve<float>(count_of(kTileRows * to_[2]));
    std::fill(sums, sums + kTileRows * to_[2], 0.0f);
    for (std::int64_t channel = 0; channel < job_.logits.channels; ++channel)
      for (std::int64_t row = 0; row < rows; ++row) {
        interpolate(stretch(channel, x, y, runs_[count_of(row)]), mixed_, values);
        if (job_.regions())
          sigmoids(to_[2], values);
        else
          exponentials(best_ + row * to_[2], to_[2], values, sums + row * to_[2]);
        float* to = probability_row(channel, x, y + row);
        for (std::int64_t z = 0; z < to_[2]; ++z) to[z * step] = values[z];
      }
    if (job_.regions()) return;
    for (std::int64_t z = 0; z < rows * to_[2]; ++z) sums[z] = 1.0f / sums[z];
    for (std::int64_t channel = 0; channel < job_.logits.channels; ++channel)
      for (std::int64_t row = 0; row < rows; ++row) {
        float* to = probability_row(channel, x, y + row);
        for (std::int64_t z = 0; z < to_[2]; ++z) to[z * step] *= sums[row * to_[2] + z];
      }
  }

  struct KeptPlane {
    std::int64_t x = -1;
    platform::Buffer winners;
  };

  const Job<T, Label>& job_;
  const Index3 from_;
  const Index3 to_;
  const std::int64_t blocks_;
  KeptPlane kept_[2];
  std::vector<Run> runs_;
  std::vector<std::uint8_t> undecided_;
  platform::Buffer common_buffer_, mixed_buffer_, winners_buffer_, best_buffer_, values_buffer_, sums_buffer_;
  std::int32_t* common_;
  float* mixed_;
  std::int32_t* winners_;  // (kTileRows, Z)
  float* best_;            // (kTileRows, Z)
};

// Background around the resized logits: of classes the first one is certain, regions are all off.
void fill_around(const SegmentationOptions& options, std::int64_t channels, const Probabilities& target) {
  const Index3& shape = options.image_shape;
  const Box box = Box::of_shape(options.new_shape).shifted(options.offset);
  if (box == Box::of_shape(shape)) return;
  base::parallel_for(options.threads, shape[0], [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const float value = channel == 0 && options.regions.empty() ? 1.0f : 0.0f;
      for (std::int64_t x = begin; x < end; ++x)
        for (std::int64_t y = 0; y < shape[1]; ++y) {
          float* row = target.data + channel * target.strides[0] + x * target.strides[1] + y * target.strides[2];
          const bool crosses = x >= box.lower[0] && x < box.upper[0] && y >= box.lower[1] && y < box.upper[1];
          const std::int64_t before = crosses ? box.lower[2] : shape[2];
          for (std::int64_t z = 0; z < before; ++z) row[z * target.strides[3]] = value;
          for (std::int64_t z = crosses ? box.upper[2] : shape[2]; z < shape[2]; ++z)
            row[z * target.strides[3]] = value;
        }
    }
  });
}

// Where both neighbours are the same voxel, half of each: a weight of 0 would make NaN of what is infinite.
resampling::LinearAxes axes_of(const Index3& shape, const SegmentationOptions& options) {
  resampling::LinearAxes axes(shape, options.new_shape, options.separate);
  for (resampling::LinearAxis& axis : axes.axes)
    for (std::size_t i = 0; i < axis.lower.size(); ++i)
      if (axis.lower[i] == axis.upper[i]) axis.fraction[i] = 0.5;
  return axes;
}

// The voxels [begin, end) of an axis, whose neighbours are counted from `first` on.
resampling::LinearAxis part_of(const resampling::LinearAxis& whole, std::int64_t begin, std::int64_t end,
                               std::int64_t first) {
  resampling::LinearAxis part;
  for (std::int64_t i = begin; i < end; ++i) {
    part.lower.push_back(static_cast<std::int32_t>(whole.lower[count_of(i)] - first));
    part.upper.push_back(static_cast<std::int32_t>(whole.upper[count_of(i)] - first));
    part.fraction.push_back(whole.fraction[count_of(i)]);
  }
  return part;
}

template <typename Label>
void check(std::int64_t channels, const Index3& from, int along, const SegmentationOptions& options) {
  resampling::check_sizes(kPlace, from, options.new_shape);
  resampling::check_axis(kPlace, options.separate);
  if (along < 0 || along > 2) throw InvalidArgument(kPlace, "planes along axis 0, 1 or 2", std::to_string(along));
  if (channels < 1) throw InvalidArgument(kPlace, "at least one channel", std::to_string(channels));
  const Box box = Box::of_shape(options.new_shape).shifted(options.offset);
  if (!base::contains(Box::of_shape(options.image_shape), box))
    throw InvalidArgument(kPlace, "the new shape to fit into the image of " + base::text(options.image_shape),
                          base::text(options.new_shape) + " at " + base::text(options.offset));
  constexpr std::int64_t kLargest = std::numeric_limits<Label>::max();
  if (options.regions.empty()) {
    if (channels - 1 > kLargest)
      throw InvalidArgument(kPlace, "at most " + std::to_string(kLargest + 1) + " classes", std::to_string(channels));
    return;
  }
  if (std::ssize(options.regions) != channels)
    throw InvalidArgument(kPlace, "a label for each of " + std::to_string(channels) + " regions",
                          std::to_string(options.regions.size()));
  for (const std::int64_t label : options.regions)
    if (label < 0 || label > kLargest)
      throw InvalidArgument(kPlace, "labels from 0 to " + std::to_string(kLargest), std::to_string(label));
}

}  // namespace

template <typename Label>
SegmentationStream<Label>::SegmentationStream(std::int64_t channels, const Index3& shape, int along,
                                              SegmentationOptions options, Label* out,
                                              const Probabilities* probabilities)
    // What is wrong is found before anything is made of it.
    : channels_((check<Label>(channels, shape, along, options), channels)),
      shape_(shape),
      along_(along),
      options_(std::move(options)),
      axes_(axes_of(shape, options_)),
      out_(out) {
  if (!options_.regions.empty()) labels_.push_back(0);
  for (std::int64_t channel = 0; channel < channels; ++channel)
    labels_.push_back(static_cast<Label>(options_.regions.empty() ? channel : options_.regions[count_of(channel)]));
  if (probabilities == nullptr) return;
  probabilities_ = *probabilities;
  fill_around(options_, channels, *probabilities_);
}

template <typename Label>
std::int64_t SegmentationStream<Label>::needed() const {
  if (complete()) return shape_[along_];
  const resampling::LinearAxis& axis = axes_.axes[along_];
  // None that comes later needs an earlier one.
  return std::min(axis.lower[count_of(decided_)], axis.upper[count_of(decided_)]);
}

template <typename Label>
void SegmentationStream<Label>::add(const Logits& logits, std::int64_t first) {
  Index3 expected = shape_;
  expected[along_] = logits.shape[along_];
  if (logits.shape != expected || logits.channels != channels_)
    throw InvalidArgument(kPlace, std::to_string(channels_) + " channels of planes of " + base::text(expected),
                          std::to_string(logits.channels) + " of " + base::text(logits.shape));
  const std::int64_t end = first + logits.shape[along_];
  if (first < 0 || end > shape_[along_] || first > needed())
    throw InvalidArgument(kPlace,
                          "planes from " + std::to_string(needed()) + " on, of " + std::to_string(shape_[along_]),
                          std::to_string(first) + " to " + std::to_string(end));
  const resampling::LinearAxis& axis = axes_.axes[along_];
  std::int64_t reached = decided_;
  while (reached < options_.new_shape[along_] && axis.lower[count_of(reached)] < end &&
         axis.upper[count_of(reached)] < end)
    ++reached;
  if (reached == decided_) return;
  if (logits.type == LogitType::float16)
    decide<std::uint16_t>(logits, first, reached);
  else
    decide<float>(logits, first, reached);
  decided_ = reached;
}

template <typename Label>
template <typename T>
void SegmentationStream<Label>::decide(const Logits& logits, std::int64_t first, std::int64_t end) {
  SegmentationOptions options = options_;
  resampling::LinearAxes axes = axes_;
  options.new_shape[along_] = end - decided_;
  options.offset[along_] += decided_;
  axes.axes[along_] = part_of(axes_.axes[along_], decided_, end, first);
  Job<T, Label> job{
      logits, std::move(options), std::move(axes), {}, labels_, out_, probabilities_ ? &*probabilities_ : nullptr};
  for (const double fraction : job.axes.axes[2].fraction) job.z_weight.push_back(static_cast<float>(fraction));
  base::parallel_for(job.options.threads, job.options.new_shape[0], [&](std::int64_t begin, std::int64_t last) {
    Worker<T, Label> worker(job);
    for (std::int64_t x = begin; x < last; ++x) worker.plane(x);
  });
}

template class SegmentationStream<std::uint8_t>;
template class SegmentationStream<std::uint16_t>;

template <typename Label>
void segmentation_from_logits(const Logits& logits, const SegmentationOptions& options, Label* out,
                              const Probabilities* probabilities) {
  SegmentationStream<Label>(logits.channels, logits.shape, 0, options, out, probabilities).add(logits, 0);
}

template void segmentation_from_logits(const Logits&, const SegmentationOptions&, std::uint8_t*, const Probabilities*);
template void segmentation_from_logits(const Logits&, const SegmentationOptions&, std::uint16_t*, const Probabilities*);

}  // namespace fastnnunet::inference
