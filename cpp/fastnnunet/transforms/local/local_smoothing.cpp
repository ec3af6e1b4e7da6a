// LocalSmoothingTransform: mixes the channel with a Gaussian-filtered copy, as much as a local kernel says. The filter
// is SciPy's: cut at 4 sigma, borders mirrored with their outermost voxel repeated.
#include <algorithm>
#include <cmath>
#include <string>

#include "fastnnunet/base/border.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/thread_room.h"
#include "fastnnunet/transforms/local/local_transform.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/local/local_smoothing.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_sums.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::each_bundle;
using simd::HWY_NAMESPACE::store_vectors;

// out[i] = taps[0] * rows[middle][i] + sum over t of taps[t] * (rows[middle - t][i] + rows[middle + t][i]).
void filter_rows(const float* const* HWY_RESTRICT rows, const float* HWY_RESTRICT taps, std::int64_t radius,
                 std::int64_t count, float* HWY_RESTRICT out) {
  const float* const* const middle = rows + radius;
  each_bundle(count, [&](auto d, auto vectors, std::int64_t begin) HWY_ATTR {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const auto at = [&](std::int64_t row, std::int64_t vector)
                        HWY_ATTR { return hn::LoadU(d, middle[row] + begin + vector * lanes); };
    hn::Vec<decltype(d)> sums[vectors.value];
    for (int v = 0; v < vectors.value; ++v) sums[v] = hn::Mul(hn::Set(d, taps[0]), at(0, v));
    for (std::int64_t tap = 1; tap <= radius; ++tap)
      for (int v = 0; v < vectors.value; ++v)
        sums[v] = hn::Add(sums[v], hn::Mul(hn::Set(d, taps[tap]), hn::Add(at(-tap, v), at(tap, v))));
    store_vectors(d, sums, out + begin);
  });
}

void mix_row(float* HWY_RESTRICT values, const float* HWY_RESTRICT smoothed, const float* HWY_RESTRICT weights,
             std::int64_t count, float strength) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float weight = weights[i] * strength;
    values[i] = smoothed[i] * weight + (1.0f - weight) * values[i];
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(filter_rows);
FASTNNUNET_DISPATCH(mix_row);

constexpr double kTruncate = 4.0;
constexpr double kLargestSigma = 1e4;     // of more there is nothing left but the mean
constexpr double kSmallestSigma = 1e-15;  // below, SciPy does not filter

// As SciPy rounds it.
std::int64_t radius_of(double sigma) {
  return static_cast<std::int64_t>(kTruncate * sigma + 0.5);  // NOLINT(bugprone-incorrect-roundings)
}

// taps[0] is the middle one.
void build_taps(double sigma, std::vector<float>& taps) {
  const std::int64_t radius = radius_of(sigma);
  double sum = 0;
  for (std::int64_t i = -radius; i <= radius; ++i) sum += std::exp(-0.5 / (sigma * sigma) * static_cast<double>(i * i));
  taps.clear();
  for (std::int64_t i = 0; i <= radius; ++i)
    taps.push_back(static_cast<float>(std::exp(-0.5 / (sigma * sigma) * static_cast<double>(i * i)) / sum));
}

class LocalSmoothing final : public LocalTransform {
 public:
  explicit LocalSmoothing(const Record& attributes)
      : LocalTransform(attributes, "smoothing_strength", "strengths"), sigma_(attributes.scalar("kernel_size")) {}

  std::string_view name() const override { return "LocalSmoothingTransform"; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float)};
  }
  std::size_t room_bytes(const Geometry& geometry) const override {
    const double most = sigma_.upper_bound().value_or(kLargestSigma);
    const std::int64_t radius = radius_of(most >= 0 && most <= kLargestSigma ? most : kLargestSigma);
    return LocalTransform::room_bytes(geometry) + platform::room_of<const float*>(2 * radius + 1) +
           platform::room_of<float>(geometry.shape[2] + 2 * radius) + platform::room_of<float>(geometry.shape[2]);
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, LocalParameters& p) const override {
    LocalTransform::draw(stream, geometry, p);
    p.sigma = p.channels.empty() ? 0.0 : sigma_.draw(stream, {geometry, std::nullopt, std::nullopt});
    check_sigma(p.sigma);
  }

  Record describe(const LocalParameters& p) const override {
    Record record = LocalTransform::describe(p);
    record.set("sigma", p.channels.empty() ? Record::Value(std::monostate{}) : Record::Value(p.sigma));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, LocalParameters& p) const override {
    LocalTransform::restore(record, geometry, p);
    p.sigma = p.channels.empty() ? 0.0 : record.number("sigma");
    check_sigma(p.sigma);
  }

  static void check_sigma(double sigma) {
    if (!(sigma <= kLargestSigma))
      throw InvalidArgument("LocalSmoothingTransform", "'sigma' of at most " + std::to_string(kLargestSigma),
                            std::to_string(sigma));
  }

  void apply_to_channel(sample::Sample& sample, std::int64_t channel, const LocalKernel& kernel, double strength,
                        const LocalParameters& p) const override {
    sample::Array<float>& image = sample.image();
    if (kernel.flat() && all_finite(image.channel_span(channel))) return;
    float* const values = image.channel(channel);
    const Index3 shape = image.shape;
    const std::int64_t plane = shape[1] * shape[2];
    p.taps.assign(1, 1.0f);
    if (p.sigma > kSmallestSigma) build_taps(p.sigma, p.taps);
    const std::int64_t radius = std::ssize(p.taps) - 1;
    // Rows around the one at `at`, of `size` that are `stride` apart.
    const auto around = [radius](const float* from, std::int64_t at, std::int64_t size, std::int64_t stride) {
      const float** const rows = platform::thread_room<const float*>(2 * radius + 1);
      for (std::int64_t tap = -radius; tap <= radius; ++tap)
        rows[tap + radius] = from + base::mirrored_with_edge(at + tap, size) * stride;
      return rows;
    };

    // Along X for all of the channel, whose voxels are overwritten below; along Y and Z a row at a time.
    float* const along_x = sample.workspace().scratch<float>(0, shape[0] * plane);
    sample.workspace().share(shape[0], [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t x = begin; x < end; ++x) {
        if (sample.dims() == 2)
          std::copy(values + x * plane, values + (x + 1) * plane, along_x + x * plane);
        else
          filter_rows(around(values, x, shape[0], plane), p.taps.data(), radius, plane, along_x + x * plane);
      }
    });
    kernel.each_row(sample.workspace(), [&](std::int64_t x, std::int64_t y, const float* weights) {
      const std::int64_t size = shape[2];
      float* const padded = platform::thread_room<float, 1>(size + 2 * radius);
      float* const along_y = padded + radius;
      filter_rows(around(along_x + x * plane, y, shape[1], size), p.taps.data(), radius, size, along_y);
      for (std::int64_t i = 1; i <= radius; ++i) {
        along_y[-i] = along_y[base::mirrored_with_edge(-i, size)];
        along_y[size - 1 + i] = along_y[base::mirrored_with_edge(size - 1 + i, size)];
      }
      const float** const shifted = platform::thread_room<const float*>(2 * radius + 1);
      for (std::int64_t tap = 0; tap <= 2 * radius; ++tap) shifted[tap] = padded + tap;
      float* const along_z = platform::thread_room<float, 2>(size);
      filter_rows(shifted, p.taps.data(), radius, size, along_z);
      mix_row(values + x * plane + y * size, along_z, weights, size, static_cast<float>(strength));
    });
  }

 private:
  Scalar sigma_;
};

}  // namespace

std::unique_ptr<Transform> make_local_smoothing(const Record& attributes) {
  return std::make_unique<LocalSmoothing>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
