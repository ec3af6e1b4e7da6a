// GaussianBlurTransform: separable Gaussian filter with reflected borders. The kernel has round-to-odd(6 sigma + 0.5)
// taps, bgv2's blur_dimension with its truncate of 6.
#include <algorithm>
#include <cmath>
#include <string>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet {
namespace {

constexpr double kTruncate = 6.0;
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

// out[i] = sum over taps of in[tap][i]: rows of any stride, contiguous inside.
FASTNNUNET_CLONES
void weighted_rows(const float* const* FASTNNUNET_RESTRICT rows, const float* FASTNNUNET_RESTRICT kernel,
                   std::int64_t taps, float* FASTNNUNET_RESTRICT out, std::int64_t count) {
  constexpr std::int64_t kTile = 64;
  for (std::int64_t begin = 0; begin < count; begin += kTile) {
    const std::int64_t length = std::min(kTile, count - begin);
    float sums[kTile] = {};
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      const float* FASTNNUNET_RESTRICT row = rows[tap] + begin;
      const float weight = kernel[tap];
      if (length == kTile) {
        for (std::int64_t i = 0; i < kTile; ++i) sums[i] += weight * row[i];
      } else {
        for (std::int64_t i = 0; i < length; ++i) sums[i] += weight * row[i];
      }
    }
    std::copy(sums, sums + length, out + begin);
  }
}

std::int64_t reflected(std::int64_t at, std::int64_t size) {
  if (at < 0) return -at;
  return at >= size ? 2 * size - 2 - at : at;
}

// One axis of one channel, from `in` to `out`. Along Z a row is first copied between its reflected borders, so that
// taps are shifts; along X and Y taps are whole rows.
void blur_axis(const float* in, float* out, const Index3& shape, int axis, const std::vector<float>& kernel,
               std::vector<const float*>& rows, std::vector<float>& padded) {
  const auto taps = static_cast<std::int64_t>(kernel.size());
  const std::int64_t half = taps / 2;
  if (half >= shape[axis])
    throw InvalidArgument("GaussianBlurTransform",
                          "at least " + std::to_string(half + 1) + " voxels along axis " + std::to_string(axis) +
                              " for a kernel of " + std::to_string(taps) + " taps",
                          std::to_string(shape[axis]));
  rows.resize(static_cast<std::size_t>(taps));
  if (axis == 2) {
    padded.resize(static_cast<std::size_t>(shape[2] + 2 * half));
    for (std::int64_t row = 0; row < shape[0] * shape[1]; ++row) {
      const float* from = in + row * shape[2];
      std::copy(from, from + shape[2], padded.begin() + half);
      for (std::int64_t i = 1; i <= half; ++i) {
        padded[static_cast<std::size_t>(half - i)] = from[i];
        padded[static_cast<std::size_t>(half + shape[2] - 1 + i)] = from[shape[2] - 1 - i];
      }
      for (std::int64_t tap = 0; tap < taps; ++tap) rows[static_cast<std::size_t>(tap)] = padded.data() + tap;
      weighted_rows(rows.data(), kernel.data(), taps, out + row * shape[2], shape[2]);
    }
    return;
  }
  const std::int64_t stride = axis == 0 ? shape[1] * shape[2] : shape[2];
  const std::int64_t outer = axis == 0 ? 1 : shape[0];
  for (std::int64_t slab = 0; slab < outer; ++slab) {
    const std::int64_t base = slab * shape[1] * shape[2];
    for (std::int64_t at = 0; at < shape[axis]; ++at) {
      for (std::int64_t tap = 0; tap < taps; ++tap)
        rows[static_cast<std::size_t>(tap)] = in + base + reflected(at + tap - half, shape[axis]) * stride;
      weighted_rows(rows.data(), kernel.data(), taps, out + base + at * stride, stride);
    }
  }
}

struct BlurParameters : Parameters {
  std::vector<std::int64_t> channels;
  std::vector<double> sigmas;  // (channels, dims)
  // Room for the work, kept from sample to sample.
  mutable std::vector<float> kernel, padded;
  mutable std::vector<const float*> rows;
};

class GaussianBlur final : public TransformOf<BlurParameters> {
 public:
  explicit GaussianBlur(const Record& attributes)
      : sigma_(attributes.scalar("blur_sigma")),
        synchronize_channels_(attributes.boolean("synchronize_channels")),
        synchronize_axes_(attributes.boolean("synchronize_axes")),
        probability_(attributes.probability("p_per_channel")) {}

  std::string_view name() const override { return "GaussianBlurTransform"; }

  Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float)};
  }

 protected:
  void draw(Stream& stream, const Geometry& geometry, BlurParameters& p) const override {
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

  void apply(Sample& sample, const BlurParameters& p, const Stream&) const override {
    Array<float>& image = sample.image();
    float* other = sample.workspace().scratch<float>(0, image.channel_size());
    const int first_axis = 3 - sample.dims();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      float* channel = image.channel(p.channels[i]);
      float* from = channel;
      float* to = other;
      for (int axis = first_axis; axis < 3; ++axis) {
        build_kernel(
            p.sigmas[i * static_cast<std::size_t>(sample.dims()) + static_cast<std::size_t>(axis - first_axis)],
            p.kernel);
        if (p.kernel.size() == 1) continue;
        blur_axis(from, to, image.shape, axis, p.kernel, p.rows, p.padded);
        std::swap(from, to);
      }
      if (from != channel) std::copy(from, from + image.channel_size(), channel);
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
  Scalar sigma_;
  bool synchronize_channels_;
  bool synchronize_axes_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_gaussian_blur(const Record& attributes) {
  return std::make_unique<GaussianBlur>(attributes);
}

}  // namespace fastnnunet
