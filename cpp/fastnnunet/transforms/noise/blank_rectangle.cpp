// BlankRectangleTransform: fills random boxes of each chosen channel with one number, or with a statistic of the voxels
// that they hide.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "BlankRectangleTransform";
constexpr std::int64_t kLargestSize = 1'000'000;

enum class Statistic { mean, median, minimum, maximum, numpy_median };

Statistic statistic_of(const std::string& name) {
  if (name == "mean") return Statistic::mean;
  if (name == "median") return Statistic::median;
  if (name == "minimum") return Statistic::minimum;
  if (name == "maximum") return Statistic::maximum;
  if (name == "numpy_median") return Statistic::numpy_median;
  throw InvalidArgument(kName, "'statistic' to be mean, median, minimum, maximum or numpy_median", name);
}

// Of at least one value; reorders them. torch.median takes the lower of two middle values, numpy.median their mean.
float median(std::span<float> values, bool between) {
  const auto middle = values.begin() + (std::ssize(values) - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (!between || values.size() % 2 != 0) return *middle;
  return (*middle + *std::min_element(middle + 1, values.end())) / 2.0f;
}

float compute(Statistic statistic, std::span<float> values) {
  if (statistic == Statistic::mean) return static_cast<float>(mean(values));
  const Extent found = extent(values);
  if (statistic == Statistic::minimum || std::isnan(found.minimum)) return found.minimum;
  if (statistic == Statistic::maximum) return found.maximum;
  return median(values, statistic == Statistic::numpy_median);
}

struct RectangleParameters : Parameters {
  std::vector<std::int64_t> apply;  // 0 or 1 for each channel of the image
  // One of each for each rectangle, in the order in which they are filled.
  std::vector<std::int64_t> channels;
  std::vector<Box> boxes;
  std::vector<double> values;  // none where the value is a statistic
  std::size_t dims = 3;        // of the boxes
};

class BlankRectangle final : public ImageTransformOf<RectangleParameters> {
 public:
  explicit BlankRectangle(const Record& attributes)
      : square_(attributes.boolean("square")), probability_(attributes.probability("p_per_channel")) {
    for (const Record::Numbers& row : attributes.rows("rectangle_size")) {
      if (row.size() != 2 || !(row[0] >= 0.0 && row[0] <= row[1] && row[1] <= kLargestSize) ||
          row[0] != std::floor(row[0]) || row[1] != std::floor(row[1]))
        throw InvalidArgument(kName, "'rectangle_size' of whole pairs, 0 <= low <= high <= 1000000",
                              row.size() == 2 ? std::to_string(row[0]) + " and " + std::to_string(row[1])
                                              : std::to_string(row.size()) + " numbers");
      sizes_.push_back({static_cast<std::int64_t>(row[0]), static_cast<std::int64_t>(row[1])});
    }
    if (sizes_.empty()) throw InvalidArgument(kName, "'rectangle_size' with a pair for each axis", "none");
    const std::vector<std::int64_t> numbers = attributes.integers("num_rectangles");
    if (numbers.size() != 2 || numbers[0] > numbers[1] || numbers[1] > kLargestSize)
      throw InvalidArgument(kName, "'num_rectangles' of two numbers, the lower one first, up to 1000000",
                            std::to_string(numbers.size()) + " numbers");
    number_ = {numbers[0], numbers[1]};
    if (attributes.has("statistic"))
      statistic_ = statistic_of(attributes.text("statistic"));
    else
      value_ = attributes.scalar("rectangle_value");
  }

  std::string_view name() const override { return kName; }

  // The voxels of one rectangle.
  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    if (!statistic_) return {};
    std::int64_t most = 1;
    for (int axis = 0; axis < geometry.dims; ++axis)
      most *= std::min(size_along(axis).high, geometry.shape[axis + 3 - geometry.dims]);
    return {static_cast<std::size_t>(most) * sizeof(float)};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, RectangleParameters& p) const override {
    p.channels.clear();
    p.boxes.clear();
    p.values.clear();
    if (!square_ && std::ssize(sizes_) < geometry.dims)
      throw InvalidArgument(kName, "'rectangle_size' for each of " + std::to_string(geometry.dims) + " axes",
                            std::to_string(sizes_.size()));
    p.dims = static_cast<std::size_t>(geometry.dims);
    draw_flags(stream, geometry.image_channels, probability_, p.apply);
    for (std::int64_t channel = 0; channel < geometry.image_channels; ++channel) {
      if (p.apply[static_cast<std::size_t>(channel)] == 0) continue;
      const std::int64_t count = stream.integer(number_.low, number_.high);
      for (std::int64_t i = 0; i < count; ++i) {
        p.channels.push_back(channel);
        p.boxes.push_back(draw_box(stream, geometry));
        if (value_) p.values.push_back(value_->draw(stream, {geometry, std::nullopt, std::nullopt}));
      }
    }
  }

  bool acts(const RectangleParameters& p) const override { return !p.boxes.empty(); }

  void apply(sample::Sample& sample, const RectangleParameters& p, const Work& work) const override {
    sample::Array<float>& image = sample.image();
    // A trace of bgv2's does not say which values it drew: these are then the seed's.
    random::Stream values = work.field();
    for (std::size_t i = 0; i < p.boxes.size(); ++i) {
      const sample::Array<float> channel{image.channel(p.channels[i]), 1, image.shape};
      const Box& box = p.boxes[i];
      float value;
      if (statistic_)
        value = statistic_inside(sample, channel, box);
      else if (!p.values.empty())
        value = static_cast<float>(p.values[i]);
      else
        value = static_cast<float>(value_->draw(values, {sample.geometry(), std::nullopt, std::nullopt}));
      for_each_row(channel, box, [value](std::span<float> row) { std::fill(row.begin(), row.end(), value); });
    }
  }

  Record describe(const RectangleParameters& p) const override {
    Record record{kName};
    record.set("apply_channel", to_numbers(p.apply));
    record.set("channels", to_numbers(p.channels));
    Record::Rows lower, upper;
    for (const Box& box : p.boxes) {
      lower.push_back({box.lower.end() - p.dims, box.lower.end()});
      upper.push_back({box.upper.end() - p.dims, box.upper.end()});
    }
    record.set("lower", std::move(lower));
    record.set("upper", std::move(upper));
    record.set("values", p.values);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, RectangleParameters& p) const override {
    p.apply = restore_flags(record, "apply_channel", geometry);
    p.channels = restore_channels(record, "channels", geometry);
    const Record::Rows& lower = record.rows("lower");
    const Record::Rows& upper = record.rows("upper");
    p.values = record.numbers("values");
    if (lower.size() != p.channels.size() || upper.size() != p.channels.size())
      throw InvalidArgument(kName,
                            "'lower' and 'upper' for each of " + std::to_string(p.channels.size()) + " 'channels'",
                            std::to_string(lower.size()) + " and " + std::to_string(upper.size()));
    if (!p.values.empty() && p.values.size() != p.channels.size())
      throw InvalidArgument(kName, "'values' for each of " + std::to_string(p.channels.size()) + " rectangles, or none",
                            std::to_string(p.values.size()));
    p.dims = static_cast<std::size_t>(geometry.dims);
    p.boxes.clear();
    for (std::size_t i = 0; i < lower.size(); ++i) p.boxes.push_back(restore_box(lower[i], upper[i], geometry));
  }

 private:
  struct Interval {
    std::int64_t low, high;  // both included
  };

  const Interval& size_along(int axis) const {
    return sizes_[square_ ? 0 : std::min(static_cast<std::size_t>(axis), sizes_.size() - 1)];
  }

  // Axes count from the first that counts; the box has those of a 2D image behind a plane.
  Box draw_box(random::Stream& stream, const Geometry& geometry) const {
    Box box = Box::of_shape(geometry.shape);
    std::int64_t size = 0;
    for (int axis = 0; axis < geometry.dims; ++axis) {
      if (axis == 0 || !square_) size = stream.integer(size_along(axis).low, size_along(axis).high);
      const int at = axis + 3 - geometry.dims;
      if (size > geometry.shape[at])
        throw InvalidArgument(kName,
                              "'rectangle_size' of at most the image's " + std::to_string(geometry.shape[at]) +
                                  " voxels along axis " + std::to_string(axis),
                              std::to_string(size));
      box.lower[at] = stream.integer(0, geometry.shape[at] - size);
      box.upper[at] = box.lower[at] + size;
    }
    return box;
  }

  static Box restore_box(const Record::Numbers& lower, const Record::Numbers& upper, const Geometry& geometry) {
    const auto dims = static_cast<std::size_t>(geometry.dims);
    for (const auto* corner : {&lower, &upper})
      if (corner->size() != dims)
        throw InvalidArgument(kName, "corners of " + std::to_string(dims) + " numbers", std::to_string(corner->size()));
    Box box = Box::of_shape(geometry.shape);
    for (std::size_t axis = 3 - dims; axis < 3; ++axis) {
      const double from = lower[axis + dims - 3], to = upper[axis + dims - 3];
      const auto size = static_cast<double>(geometry.shape[axis]);
      if (!(from >= 0.0 && from <= to && to <= size) || from != std::floor(from) || to != std::floor(to))
        throw InvalidArgument(kName,
                              "a rectangle inside the image's " + std::to_string(geometry.shape[axis]) + " voxels",
                              std::to_string(from) + " to " + std::to_string(to));
      box.lower[axis] = static_cast<std::int64_t>(from);
      box.upper[axis] = static_cast<std::int64_t>(to);
    }
    return box;
  }

  template <typename Function>
  static void for_each_row(const sample::Array<float>& channel, const Box& box, Function&& function) {
    const auto length = static_cast<std::size_t>(box.upper[2] - box.lower[2]);
    for (std::int64_t x = box.lower[0]; x < box.upper[0]; ++x)
      for (std::int64_t y = box.lower[1]; y < box.upper[1]; ++y)
        function(std::span<float>{channel.data + (x * channel.shape[1] + y) * channel.shape[2] + box.lower[2], length});
  }

  float statistic_inside(sample::Sample& sample, const sample::Array<float>& channel, const Box& box) const {
    const std::int64_t count = voxels(box.shape());
    if (count == 0) {
      if (*statistic_ == Statistic::minimum || *statistic_ == Statistic::maximum)
        throw InvalidArgument(kName, "a rectangle with voxels, for their extreme", "an empty one");
      return std::numeric_limits<float>::quiet_NaN();
    }
    float* inside = sample.workspace().scratch<float>(0, count);
    float* next = inside;
    for_each_row(channel, box, [&next](std::span<float> row) { next = std::copy(row.begin(), row.end(), next); });
    return compute(*statistic_, {inside, static_cast<std::size_t>(count)});
  }

  std::vector<Interval> sizes_;  // one for each axis, or one for all of them
  bool square_;                  // one number for all axes
  double probability_;
  Interval number_{};
  std::optional<Scalar> value_;
  std::optional<Statistic> statistic_;
};

}  // namespace

std::unique_ptr<Transform> make_blank_rectangle(const Record& attributes) {
  return std::make_unique<BlankRectangle>(attributes);
}

}  // namespace fastnnunet::transforms
