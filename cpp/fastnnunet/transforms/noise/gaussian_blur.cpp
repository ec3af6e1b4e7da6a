// GaussianBlurTransform: separable Gaussian filter with reflected borders. The kernel has round-to-odd(6 sigma + 0.5)
// taps, bgv2's blur_dimension with its truncate of 6.
#include <algorithm>
#include <cmath>
#include <string>

#include "fastnnunet/base/border.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/thread_room.h"
#include "fastnnunet/transforms/channels.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/noise/gaussian_blur.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_sums.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::each_bundle;
using simd::HWY_NAMESPACE::store_vectors;
using simd::HWY_NAMESPACE::weighted_sum;

// out[i] = sum over taps of in[tap][i]: rows of any stride, contiguous inside.
void weighted_rows(const float* const* HWY_RESTRICT rows, const float* HWY_RESTRICT kernel, std::int64_t taps,
                   float* HWY_RESTRICT out, std::int64_t count) {
  each_bundle(count, [&](auto d, auto vectors, std::int64_t begin) HWY_ATTR {
    hn::Vec<decltype(d)> sums[vectors.value];
    weighted_sum(d, [&](std::int64_t tap) { return rows[tap] + begin; }, kernel, taps, sums);
    store_vectors(d, sums, out + begin);
  });
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(weighted_rows);

constexpr double kTruncate = 6.0;
constexpr std::int64_t kLine = 16;     // values of a cache line
constexpr double kLargestSigma = 1e5;  // no image is as large as its kernel

// Python's round goes to even; an even result then moves to the odd number on the side of n.
std::int64_t nearest_odd(double n) {
  const double rounded = std::nearbyint(n);
  const auto whole = static_cast<std::int64_t>(rounded);
  if (whole % 2 != 0) return whole;
  return n - rounded >= 0 ? whole + 1 : whole - 1;
}

std::int64_t kernel_size(double sigma) { return nearest_odd(sigma * kTruncate + 0.5); }

void build_kernel(double sigma, std::vector<float>& kernel) {
  if (!(sigma >= 0 && sigma <= kLargestSigma))
    throw InvalidArgument("GaussianBlurTransform", "'sigmas' between 0 and " + std::to_string(kLargestSigma),
                          std::to_string(sigma));
  const std::int64_t size = kernel_size(sigma);
  kernel.resize(static_cast<std::size_t>(size));
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double x = (static_cast<double>(i) - static_cast<double>(size - 1) * 0.5) / sigma;
    const double density = size == 1 ? 1.0 : std::exp(-0.5 * x * x);
    kernel[static_cast<std::size_t>(i)] = static_cast<float>(density);
    sum += density;
  }
  for (float& tap : kernel) tap = static_cast<float>(tap / sum);
}

void check_reach(const Index3& shape, int axis, std::size_t taps) {
  const auto half = static_cast<std::int64_t>(taps / 2);
  if (half >= shape[axis])
    throw InvalidArgument("GaussianBlurTransform",
                          "at least " + std::to_string(half + 1) + " voxels along axis " + std::to_string(axis) +
                              " for a kernel of " + std::to_string(taps) + " taps",
                          std::to_string(shape[axis]));
}

struct BlurParameters : Parameters {
  std::vector<std::int64_t> channels;
  std::vector<double> sigmas;  // (channels, dims)
  // Room for the work, kept from sample to sample.
  mutable std::vector<float> kernels[3];
};

class GaussianBlur final : public ImageTransformOf<BlurParameters> {
 public:
  explicit GaussianBlur(const Record& attributes)
      : sigma_(attributes.scalar("blur_sigma")),
        synchronize_channels_(attributes.boolean("synchronize_channels")),
        synchronize_axes_(attributes.boolean("synchronize_axes")),
        probability_(attributes.probability("p_per_channel")) {}

  std::string_view name() const override { return "GaussianBlurTransform"; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float)};
  }
  // No kernel reaches further than the image (check_reach).
  std::size_t room_bytes(const Geometry& geometry) const override {
    const Index3& shape = geometry.shape;
    return platform::room_of<float>(2 * shape[2] + kLine) + platform::room_of<const float*>(2 * shape[0]) +
           platform::room_of<const float*>(2 * shape[1]) + platform::room_of<const float*>(2 * shape[2]);
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, BlurParameters& p) const override {
    draw_channels(stream, geometry.image_channels, probability_, p.channels);
    p.sigmas.clear();
    const auto dims = static_cast<std::size_t>(geometry.dims);
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      if (i > 0 && synchronize_channels_) {
        for (std::size_t axis = 0; axis < dims; ++axis) p.sigmas.push_back(p.sigmas[axis]);
        continue;
      }
      for (std::size_t axis = 0; axis < dims; ++axis) {
        if (axis > 0 && synchronize_axes_)
          p.sigmas.push_back(p.sigmas.back());
        else
          p.sigmas.push_back(sigma_.draw(
              stream,
              {geometry, std::nullopt, synchronize_axes_ ? std::nullopt : std::optional<int>(static_cast<int>(axis))}));
      }
    }
  }

  bool acts(const BlurParameters& p) const override { return !p.channels.empty(); }

  void apply(sample::Sample& sample, const BlurParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    const auto dims = static_cast<std::size_t>(sample.dims());
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      for (std::size_t axis = 0; axis < 3; ++axis) {
        p.kernels[axis].assign(1, 1.0f);
        if (axis < 3 - dims) continue;
        build_kernel(p.sigmas[i * dims + axis - (3 - dims)], p.kernels[axis]);
        if (p.kernels[axis].size() > 1) check_reach(image.shape, static_cast<int>(axis), p.kernels[axis].size());
      }
      blur(sample.workspace(), image.channel(p.channels[i]), image.shape, p);
    }
  }

  Record describe(const BlurParameters& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("sigmas", p.sigmas);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, BlurParameters& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.sigmas = record.numbers("sigmas");
    if (p.sigmas.size() != p.channels.size() * static_cast<std::size_t>(geometry.dims))
      throw InvalidArgument("GaussianBlurTransform", "'sigmas' for each channel and axis",
                            std::to_string(p.sigmas.size()));
  }

 private:
  // In place: planes are blurred along Y and Z into working memory, and from there along X back into the channel. A
  // thread that is alone goes over memory once and keeps as many planes as the kernel has taps.
  static void blur(sample::Workspace& workspace, float* channel, const Index3& shape, const BlurParameters& p) {
    const std::int64_t plane = shape[1] * shape[2];
    const auto taps = static_cast<std::int64_t>(p.kernels[0].size());
    const bool alone = workspace.idle() == 0;
    const std::int64_t half = taps / 2, kept = alone ? std::min(taps, shape[0]) : shape[0];
    float* const planes = workspace.scratch<float>(0, kept * plane);
    const auto inside = [&](std::int64_t x) { blur_plane(channel + x * plane, shape, p, planes + x % kept * plane); };
    const auto across = [&](std::int64_t x) {
      const float** const rows = platform::thread_room<const float*>(taps);
      for (std::int64_t tap = 0; tap < taps; ++tap)
        rows[tap] = planes + base::mirrored_without_edge(x + tap - half, shape[0]) % kept * plane;
      weigh(rows, p.kernels[0], channel + x * plane, plane);
    };
    if (alone) {
      for (std::int64_t x = 0, next = 0; x < shape[0]; ++x) {
        for (; next <= std::min(x + half, shape[0] - 1); ++next) inside(next);
        across(x);
      }
      return;
    }
    const auto each = [&](const auto& what) {
      workspace.share(shape[0], [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t x = begin; x < end; ++x) what(x);
      });
    };
    each(inside);
    each(across);
  }

  // A row at a time: along Y taps are whole rows, and the result goes between its reflected borders, where taps along Z
  // are shifts.
  static void blur_plane(const float* in, const Index3& shape, const BlurParameters& p, float* out) {
    const std::int64_t size = shape[2];
    const auto taps_y = static_cast<std::int64_t>(p.kernels[1].size());
    const auto taps_z = static_cast<std::int64_t>(p.kernels[2].size());
    const std::int64_t half = taps_z / 2;
    const std::int64_t border = (half + kLine - 1) / kLine * kLine;  // rows begin with a cache line
    float* const row = platform::thread_room<float>(border + size + half) + border;
    const float** const whole = platform::thread_room<const float*, 1>(taps_y);
    const float** const shifted = platform::thread_room<const float*, 2>(taps_z);
    for (std::int64_t tap = 0; tap < taps_z; ++tap) shifted[tap] = row + tap - half;
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      for (std::int64_t tap = 0; tap < taps_y; ++tap)
        whole[tap] = in + base::mirrored_without_edge(y + tap - taps_y / 2, shape[1]) * size;
      weigh(whole, p.kernels[1], row, size);
      for (std::int64_t i = 1; i <= half; ++i) {
        row[-i] = row[i];
        row[size - 1 + i] = row[size - 1 - i];
      }
      weigh(shifted, p.kernels[2], out + y * size, size);
    }
  }

  // A kernel of one tap is 1, and leaves a NaN's neighbours alone.
  static void weigh(const float* const* rows, const std::vector<float>& kernel, float* out, std::int64_t count) {
    const auto taps = static_cast<std::int64_t>(kernel.size());
    if (taps > 1)
      weighted_rows(rows, kernel.data(), taps, out, count);
    else
      std::copy(rows[0], rows[0] + count, out);
  }

  Scalar sigma_;
  bool synchronize_channels_;
  bool synchronize_axes_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_gaussian_blur(const Record& attributes) {
  return std::make_unique<GaussianBlur>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
