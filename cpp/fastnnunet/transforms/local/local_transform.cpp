#include "fastnnunet/transforms/local/local_transform.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/thread_room.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/local/local_transform.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void weigh(const float* HWY_RESTRICT profile, float factor, float minimum, float divisor, std::int64_t count,
           float* HWY_RESTRICT out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = (factor * profile[i] - minimum) / divisor;
}

// The same with a divisor whose inverse is known; a division takes several times as long.
void weigh_by_inverse(const float* HWY_RESTRICT profile, float factor, float minimum, float inverse, std::int64_t count,
                      float* HWY_RESTRICT out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = (factor * profile[i] - minimum) * inverse;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(weigh);
FASTNNUNET_DISPATCH(weigh_by_inverse);

constexpr float kLeastInvertible = 1e-37f;  // below, the inverse is infinite, or as good as

// Of the standard normal distribution, in the two halves in which SciPy computes it: where the result is close to 1,
// differences of neighbours are steps of its last bit, and these steps can be all that there is of a kernel.
double normal_cdf(double x) {
  const double z = x * (std::numbers::sqrt2 / 2);
  if (std::abs(z) < 1) return 0.5 + 0.5 * std::erf(z);
  const double tail = 0.5 * std::erfc(std::abs(z));
  return z > 0 ? 1 - tail : tail;
}

// The mass of the Gaussian in each of `size` voxels. NaN for a scale that is not above 0, as SciPy says.
void add_profile(std::int64_t size, double location, double scale, std::vector<float>& profile) {
  const double centre = location * static_cast<double>(size);
  if (!(scale > 0)) scale = std::numeric_limits<double>::quiet_NaN();
  double below = normal_cdf((-0.5 - centre) / scale);
  for (std::int64_t i = 0; i < size; ++i) {
    const double above = normal_cdf((static_cast<double>(i) + 0.5 - centre) / scale);
    profile.push_back(static_cast<float>(above - below));
    below = above;
  }
}

void add_profiles(const Geometry& geometry, LocalParameters& p, std::size_t kernel) {
  const auto dims = static_cast<std::size_t>(geometry.dims);
  if (dims == 2) p.profiles.push_back(1.0f);
  for (std::size_t axis = 0; axis < dims; ++axis)
    add_profile(geometry.shape[axis + 3 - dims], p.locations[kernel * dims + axis], p.scales[kernel * dims + axis],
                p.profiles);
}

std::int64_t profile_size(const Index3& shape) { return shape[0] + shape[1] + shape[2]; }

// NaN where any is.
Extent profile_extent(const float* values, std::int64_t count) {
  return extent({values, static_cast<std::size_t>(count)});
}

double sum(const float* values, std::int64_t count) { return std::accumulate(values, values + count, 0.0); }

// Rows of a record to (rows, columns).
template <typename T>
void flatten(const Record& record, const char* name, std::int64_t columns, std::vector<T>& out) {
  out.clear();
  for (const auto& row : record.rows(name)) {
    if (std::ssize(row) != columns)
      throw InvalidArgument(record.owner(), std::string("'") + name + "' of " + std::to_string(columns) + " numbers",
                            std::to_string(row.size()));
    for (const double value : row) out.push_back(static_cast<T>(value));
  }
}

template <typename T>
Record::Rows unflatten(const std::vector<T>& values, std::size_t rows) {
  Record::Rows out;
  const std::size_t columns = rows == 0 ? 0 : values.size() / rows;
  for (std::size_t row = 0; row < rows; ++row)
    out.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(row * columns),
                     values.begin() + static_cast<std::ptrdiff_t>((row + 1) * columns));
  return out;
}

}  // namespace

LocalKernel::LocalKernel(const LocalParameters& p, std::size_t number, const Index3& shape) : shape_(shape) {
  if (!p.ready.empty()) {
    ready_ = p.ready.data() + static_cast<std::int64_t>(number) * voxels(shape);
    return;
  }
  profiles_ = p.profiles.data() + static_cast<std::int64_t>(number) * profile_size(shape);
  // Products are monotone in each factor, rounded or not: the extremes are products of extremes.
  const Extent x = profile_extent(profiles_, shape[0]);
  const Extent y = profile_extent(profiles_ + shape[0], shape[1]);
  const Extent z = profile_extent(profiles_ + shape[0] + shape[1], shape[2]);
  float low = std::numeric_limits<float>::infinity(), high = -low;
  for (const float a : {x.minimum, x.maximum})
    for (const float b : {y.minimum, y.maximum})
      for (const float c : {z.minimum, z.maximum}) {
        const float product = (a * b) * c;
        low = product < low || std::isnan(product) ? product : low;
        high = product > high || std::isnan(product) ? product : high;
      }
  minimum_ = low;
  const float range = high - low;
  flat_ = range == 0;
  if (range > 0) divisor_ = range;
}

const float* LocalKernel::row(std::int64_t x, std::int64_t y) const {
  if (ready_ != nullptr) return ready_ + (x * shape_[1] + y) * shape_[2];
  const float factor = profiles_[x] * profiles_[shape_[0] + y];
  const float* const profile = profiles_ + shape_[0] + shape_[1];
  float* const weights = platform::thread_room<float>(shape_[2]);
  if (divisor_ > kLeastInvertible)
    weigh_by_inverse(profile, factor, minimum_, 1.0f / divisor_, shape_[2], weights);
  else
    weigh(profile, factor, minimum_, divisor_, shape_[2], weights);
  return weights;
}

std::size_t LocalTransform::room_bytes(const Geometry& geometry) const {
  return platform::room_of<float>(geometry.shape[2]);
}

double LocalKernel::total() const {
  if (ready_ != nullptr) return sum(ready_, voxels(shape_));
  const double product = sum(profiles_, shape_[0]) * sum(profiles_ + shape_[0], shape_[1]) *
                         sum(profiles_ + shape_[0] + shape_[1], shape_[2]);
  return (product - static_cast<double>(voxels(shape_)) * static_cast<double>(minimum_)) /
         static_cast<double>(divisor_);
}

LocalTransform::LocalTransform(const Record& attributes, const char* value, const char* values)
    : scale_(attributes.scalar("scale")),
      location_(attributes.scalar("loc")),
      value_(attributes.scalar(value)),
      values_(values),
      same_for_all_channels_(attributes.boolean("same_for_all_channels")),
      probability_(attributes.probability("p_per_channel")) {}

void LocalTransform::draw(random::Stream& stream, const Geometry& geometry, LocalParameters& p) const {
  draw_channels(stream, geometry.image_channels, probability_, p.channels);
  p.values.clear();
  p.locations.clear();
  p.scales.clear();
  p.profiles.clear();
  p.ready.clear();
  p.kernels = 0;
  const std::size_t wanted = same_for_all_channels_ ? std::min<std::size_t>(p.channels.size(), 1) : p.channels.size();
  for (std::size_t i = 0; i < wanted; ++i) {
    for (int axis = 0; axis < geometry.dims; ++axis) {
      p.locations.push_back(location_.draw(stream, {geometry, std::nullopt, axis}));
      p.scales.push_back(scale_.draw(stream, {geometry, std::nullopt, axis}));
    }
    add_profiles(geometry, p, p.kernels);
    const double value = value_.draw(stream, {geometry, std::nullopt, std::nullopt});
    if (leaves_out(LocalKernel(p, p.kernels, geometry.shape), value)) {
      p.locations.resize(p.locations.size() - static_cast<std::size_t>(geometry.dims));
      p.scales.resize(p.locations.size());
      p.profiles.resize(p.kernels * static_cast<std::size_t>(profile_size(geometry.shape)));
      continue;
    }
    p.channels[p.kernels++] = p.channels[i];
    p.values.push_back(value);
  }
  if (same_for_all_channels_ && p.kernels == 1)
    p.values.resize(p.channels.size(), p.values.front());
  else
    p.channels.resize(p.kernels);
}

void LocalTransform::apply(sample::Sample& sample, const LocalParameters& p, const Work&) const {
  const Index3 shape = sample.image().shape;
  for (std::size_t i = 0; i < p.channels.size(); ++i) {
    const LocalKernel kernel(p, p.kernels == 1 ? 0 : i, shape);
    apply_to_channel(sample, p.channels[i], kernel, p.values.empty() ? 0.0 : p.values[i], p);
  }
}

Record LocalTransform::describe(const LocalParameters& p) const {
  Record record{std::string(name())};
  record.set("apply_to_channel", to_numbers(p.channels));
  record.set(values_, p.values);
  if (!p.ready.empty()) {
    record.set("kernels", unflatten(p.ready, p.kernels));
  } else {
    record.set("locations", unflatten(p.locations, p.kernels));
    record.set("scales", unflatten(p.scales, p.kernels));
  }
  return record;
}

void LocalTransform::restore(const Record& record, const Geometry& geometry, LocalParameters& p) const {
  p.channels = restore_channels(record, "apply_to_channel", geometry);
  p.locations.clear();
  p.scales.clear();
  p.profiles.clear();
  p.ready.clear();
  p.values.clear();
  const auto fitting = [&](const char* what, std::size_t got, bool one_for_all) {
    if (got != p.channels.size() && !(one_for_all && got == 1))
      throw InvalidArgument(
          record.owner(), std::string("'") + what + "' for each of " + std::to_string(p.channels.size()) + " channels",
          std::to_string(got));
  };
  const bool ready = record.has("kernels");
  if (ready) {
    flatten(record, "kernels", voxels(geometry.shape), p.ready);
    p.kernels = record.rows("kernels").size();
    fitting("kernels", p.kernels, true);
  } else {
    flatten(record, "locations", geometry.dims, p.locations);
    flatten(record, "scales", geometry.dims, p.scales);
    p.kernels = record.rows("locations").size();
    fitting("locations", p.kernels, true);
    if (p.scales.size() != p.locations.size())
      throw InvalidArgument(record.owner(), "'scales' for each of " + std::to_string(p.kernels) + " kernels",
                            std::to_string(record.rows("scales").size()));
    for (std::size_t kernel = 0; kernel < p.kernels; ++kernel) add_profiles(geometry, p, kernel);
  }
  if (ready && !ready_kernels_need_values()) return;
  p.values = record.numbers(values_);
  fitting(values_, p.values.size(), false);
}

bool all_finite(std::span<const float> values) {
  const Extent found = extent(values);
  return std::isfinite(found.minimum) && std::isfinite(found.maximum);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
