#include "fastnnunet/warp/elastic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "fastnnunet/base/error.h"

#define HWY_TARGET_INCLUDE "fastnnunet/warp/elastic.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_sums.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::warp::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::each_bundle;
using simd::HWY_NAMESPACE::store_vectors;
using simd::HWY_NAMESPACE::weighted_sum;

// Sums up waves along the first axis. in: (count, columns), out: (size, columns).
void sum_waves(const float* HWY_RESTRICT in, std::int64_t columns, const float* HWY_RESTRICT by_voxel,
               std::int64_t size, std::int64_t cosines, std::int64_t count, float* HWY_RESTRICT out) {
  each_bundle(columns, [&](auto d, auto vectors, std::int64_t begin) HWY_ATTR {
    const auto wave_at = [&](std::int64_t wave) { return in + wave * columns + begin; };
    const auto sine_at = [&](std::int64_t wave) { return wave_at(cosines + wave); };
    hn::Vec<decltype(d)> even[vectors.value], odd[vectors.value], sums[vectors.value];
    for (std::int64_t at = 0; 2 * at <= size; ++at) {
      const float* weights = by_voxel + at * count;
      weighted_sum(d, wave_at, weights, cosines, even);
      weighted_sum(d, sine_at, weights + cosines, count - cosines, odd);
      for (int v = 0; v < vectors.value; ++v) sums[v] = hn::Add(even[v], odd[v]);
      store_vectors(d, sums, out + at * columns + begin);
      if (at == 0 || 2 * at == size) continue;
      for (int v = 0; v < vectors.value; ++v) sums[v] = hn::Sub(even[v], odd[v]);
      store_vectors(d, sums, out + (size - at) * columns + begin);
    }
  });
}

// The same along the last axis. in: (rows, count), out: (rows, size).
void sum_waves_along_rows(const float* HWY_RESTRICT in, std::int64_t rows, const float* HWY_RESTRICT by_wave,
                          std::int64_t size, std::int64_t count, float* HWY_RESTRICT out) {
  for (std::int64_t row = 0; row < rows; ++row)
    each_bundle(size, [&](auto d, auto vectors, std::int64_t begin) HWY_ATTR {
      hn::Vec<decltype(d)> sums[vectors.value];
      weighted_sum(d, [&](std::int64_t wave) { return by_wave + wave * size + begin; }, in + row * count, count, sums);
      store_vectors(d, sums, out + row * size + begin);
    });
}

float largest(const float* values, std::int64_t count) {
  float most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float size = std::abs(values[i]);
    most = size > most ? size : most;
  }
  return most;
}

void scale(float* values, std::int64_t count, float factor) {
  for (std::int64_t i = 0; i < count; ++i) values[i] *= factor;
}

constexpr std::int64_t kLanes = 16;

void survey_lanes(const float* HWY_RESTRICT values, std::int64_t count, float* HWY_RESTRICT lows,
                  float* HWY_RESTRICT highs, double* HWY_RESTRICT sums) {
  for (std::int64_t begin = 0; begin < count; begin += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[begin + lane];
      lows[lane] = value < lows[lane] ? value : lows[lane];
      highs[lane] = value > highs[lane] ? value : highs[lane];
      sums[lane] += static_cast<double>(value);
    }
}

}  // namespace
}  // namespace fastnnunet::warp::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::warp {
namespace {

using HWY_NAMESPACE::kLanes;
FASTNNUNET_DISPATCH(sum_waves);
FASTNNUNET_DISPATCH(sum_waves_along_rows);
FASTNNUNET_DISPATCH(largest);
FASTNNUNET_DISPATCH(scale);
FASTNNUNET_DISPATCH(survey_lanes);

// Waves that keep less than this share of their height are left out.
constexpr double kNegligible = 1e-6;

}  // namespace

void Waves::build(std::int64_t size, double sigma) {
  size_ = size;
  const auto length = static_cast<double>(size);
  const auto weight = [&](std::int64_t wave) {
    const double phase = std::numbers::pi * sigma * static_cast<double>(wave) / length;
    return std::exp(-2 * phase * phase);
  };
  std::int64_t highest = 0;
  while (2 * (highest + 1) <= size && weight(highest + 1) >= kNegligible) ++highest;
  cosines_ = highest + 1;
  sines_ = 2 * highest == size ? highest - 1 : highest;  // the fastest wave of an even axis has no sine

  cosine_.resize(static_cast<std::size_t>(size));
  sine_.resize(static_cast<std::size_t>(size));
  for (std::int64_t part = 0; part < size; ++part) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(part) / length;
    cosine_[static_cast<std::size_t>(part)] = std::cos(angle);
    sine_[static_cast<std::size_t>(part)] = std::sin(angle);
  }
  by_voxel_.resize(static_cast<std::size_t>((size / 2 + 1) * count()));
  by_wave_.resize(static_cast<std::size_t>(count() * size));
  for (std::int64_t column = 0; column < count(); ++column) {
    const bool sine = column >= cosines_;
    const std::int64_t wave = sine ? column - cosines_ + 1 : column;
    const double height = weight(wave) * std::sqrt((wave == 0 || 2 * wave == size ? 1 : 2) / length);
    for (std::int64_t at = 0; at < size; ++at) {
      const auto part = static_cast<std::size_t>(wave * at % size);
      const auto value = static_cast<float>(height * (sine ? sine_ : cosine_)[part]);
      by_wave_[static_cast<std::size_t>(column * size + at)] = value;
      if (2 * at <= size) by_voxel_[static_cast<std::size_t>(at * count() + column)] = value;
    }
  }
}

void ElasticField::draw(const random::Stream& stream, std::uint64_t first, double sigma, double magnitude,
                        const Index3& shape, float* between, float* small, float* out) {
  for (int axis = 0; axis < 3; ++axis) waves_[axis].build(shape[axis], sigma);
  const auto& [x, y, z] = waves_;
  const std::int64_t plane = shape[1] * shape[2];
  const std::int64_t noise = y.count() * z.count();
  float* rows = small + plane;
  for (std::int64_t wave = 0; wave < x.count(); ++wave) {
    std::fill(small, small + noise, 0.0f);
    stream.add_normal({small, static_cast<std::size_t>(noise)}, first + static_cast<std::uint64_t>(wave * noise), 1.0f);
    sum_waves_along_rows(small, y.count(), z.by_wave(), shape[2], z.count(), rows);
    sum_waves(rows, shape[2], y.by_voxel(), shape[1], y.cosines(), y.count(), between + wave * plane);
  }
  sum_waves(between, plane, x.by_voxel(), shape[0], x.cosines(), x.count(), out);

  const std::int64_t count = voxels(shape);
  const float most = largest(out, count);
  if (most > 0) scale(out, count, static_cast<float>(magnitude / static_cast<double>(most)));
}

void survey(const float* component, std::int64_t count, double& low, double& high, double& mean) {
  // Sums of every kLanes-th value: an order that vectorises, and is the same for every processor.
  float lows[kLanes], highs[kLanes];
  double sums[kLanes] = {};
  std::fill(lows, lows + kLanes, component[0]);
  std::fill(highs, highs + kLanes, component[0]);
  const std::int64_t whole = count / kLanes * kLanes;
  survey_lanes(component, whole, lows, highs, sums);
  double sum = 0;
  for (std::int64_t i = whole; i < count; ++i) {
    lows[0] = std::min(lows[0], component[i]);
    highs[0] = std::max(highs[0], component[i]);
    sum += static_cast<double>(component[i]);
  }
  for (const double part : sums) sum += part;
  // A sum shows what comparisons do not see.
  if (!std::isfinite(sum))
    throw InvalidArgument("SpatialTransform", "'elastic_offsets' that are finite", std::to_string(sum));
  low = static_cast<double>(*std::min_element(lows, lows + kLanes));
  high = static_cast<double>(*std::max_element(highs, highs + kLanes));
  mean = sum / static_cast<double>(count);
}

}  // namespace fastnnunet::warp
#endif  // HWY_ONCE
