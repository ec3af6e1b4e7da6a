// SharpeningTransform: adds a share of the negated Laplacian, with replicated borders; optionally clamped to the old
// extent.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/simd/rows.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/noise/sharpen.cpp"
#include "fastnnunet/base/simd/targets.h"

#if !defined(FASTNNUNET_TRANSFORMS_NOISE_SHARPEN_TYPES)
#define FASTNNUNET_TRANSFORMS_NOISE_SHARPEN_TYPES
namespace fastnnunet::transforms {
namespace {

// A row and its neighbours across it; behind the borders these are the row itself.
struct Rows {
  const float* centre;
  const float* left;  // along Y
  const float* right;
  const float* front;  // along X; null in 2D
  const float* back;
};

}  // namespace
}  // namespace fastnnunet::transforms
#endif

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void sharpen_3d(const Rows& rows, float* HWY_RESTRICT out, std::int64_t first, std::int64_t last, float strength) {
  const float* HWY_RESTRICT c = rows.centre;
  const float* HWY_RESTRICT l = rows.left;
  const float* HWY_RESTRICT r = rows.right;
  const float* HWY_RESTRICT f = rows.front;
  const float* HWY_RESTRICT b = rows.back;
  for (std::int64_t z = first; z < last; ++z) {
    const float around = ((f[z] + b[z]) + (l[z] + r[z])) + (c[z - 1] + c[z + 1]);
    out[z] = (6.0f * c[z] - around) * strength + c[z];
  }
}

void sharpen_2d(const Rows& rows, float* HWY_RESTRICT out, std::int64_t first, std::int64_t last, float strength) {
  const float* HWY_RESTRICT c = rows.centre;
  const float* HWY_RESTRICT l = rows.left;
  const float* HWY_RESTRICT r = rows.right;
  for (std::int64_t z = first; z < last; ++z) {
    const float around = (l[z] + r[z]) + (c[z - 1] + c[z + 1]);
    out[z] = (4.0f * c[z] - around) * strength + c[z];
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(sharpen_3d);
FASTNNUNET_DISPATCH(sharpen_2d);

constexpr const char* kName = "SharpeningTransform";

// The two voxels of a row that have no neighbour on one side.
float sharpen_end(const Rows& rows, std::int64_t z, std::int64_t before, std::int64_t after, float strength) {
  const float c = rows.centre[z];
  float around = rows.left[z] + rows.right[z];
  if (rows.front != nullptr) around = (rows.front[z] + rows.back[z]) + around;
  around += rows.centre[before] + rows.centre[after];
  return ((rows.front != nullptr ? 6.0f : 4.0f) * c - around) * strength + c;
}

void sharpen_row(const Rows& rows, float* out, std::int64_t count, float strength) {
  out[0] = sharpen_end(rows, 0, 0, std::min<std::int64_t>(1, count - 1), strength);
  if (count == 1) return;
  out[count - 1] = sharpen_end(rows, count - 1, count - 2, count - 1, strength);
  (rows.front != nullptr ? sharpen_3d : sharpen_2d)(rows, out, 1, count - 1, strength);
}

struct SharpeningParameters : Parameters {
  // One of each for each channel of the image.
  std::vector<std::int64_t> apply;
  std::vector<std::int64_t> clamp;
  std::vector<double> strengths;
};

class Sharpening final : public ImageTransformOf<SharpeningParameters> {
 public:
  explicit Sharpening(const Record& attributes)
      : strength_(attributes.scalar("strength")),
        p_same_for_each_channel_(attributes.probability("p_same_for_each_channel")),
        probability_(attributes.probability("p_per_channel")),
        p_clamp_intensities_(attributes.probability("p_clamp_intensities")) {}

  std::string_view name() const override { return kName; }

  // Two planes as they were.
  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    const std::size_t plane = static_cast<std::size_t>(geometry.shape[1] * geometry.shape[2]) * sizeof(float);
    return {plane, plane};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, SharpeningParameters& p) const override {
    p.strengths.clear();
    p.clamp.clear();
    const auto channels = static_cast<std::size_t>(geometry.image_channels);
    const bool same = stream.bernoulli(p_same_for_each_channel_);
    for (std::size_t i = 0; i < channels; ++i) {
      const bool again = same && i > 0;
      p.strengths.push_back(again ? p.strengths[0] : strength_.draw(stream, {geometry, std::nullopt, std::nullopt}));
      p.clamp.push_back(again ? p.clamp[0] : stream.bernoulli(p_clamp_intensities_));
    }
    draw_flags(stream, geometry.image_channels, probability_, p.apply);
  }

  bool acts(const SharpeningParameters& p) const override { return any_flag(p.apply); }

  void apply(sample::Sample& sample, const SharpeningParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.apply.size(); ++i)
      if (p.apply[i] != 0)
        sharpen(sample, image, static_cast<std::int64_t>(i), static_cast<float>(p.strengths[i]), p.clamp[i] != 0);
  }

  Record describe(const SharpeningParameters& p) const override {
    Record record{kName};
    record.set("apply_channel", to_numbers(p.apply));
    record.set("strengths", p.strengths);
    record.set("clamp_intensities", to_numbers(p.clamp));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, SharpeningParameters& p) const override {
    p.apply = restore_flags(record, "apply_channel", geometry);
    p.strengths = restore_per_channel(record, "strengths", geometry);
    p.clamp = restore_flags(record, "clamp_intensities", geometry);
  }

 private:
  // bgv2 drops all axes of one voxel from its result, which then fits only where these come first.
  static void check_shape(const Index3& shape, int dims) {
    bool longer = false;
    for (int axis = 3 - dims; axis < 3; ++axis) {
      if (longer && shape[axis] == 1)
        throw InvalidArgument(kName, "more than one voxel along each axis that follows a longer one",
                              "1 along axis " + std::to_string(axis - (3 - dims)));
      longer = longer || shape[axis] > 1;
    }
  }

  void sharpen(sample::Sample& sample, sample::Array<float>& image, std::int64_t channel, float strength,
               bool clamped) const {
    const Index3& shape = image.shape;
    check_shape(shape, sample.dims());
    const std::int64_t plane = shape[1] * shape[2];
    const Extent before = extent(image.channel_span(channel));
    float* const voxels = image.channel(channel);
    if (clamped && std::isnan(before.minimum)) {
      std::fill_n(voxels, image.channel_size(), before.minimum);
      return;
    }
    // NaN and infinity reach the corners of the kernel as well, for bgv2 multiplies them by 0.
    const bool finite = std::isfinite(before.minimum) && std::isfinite(before.maximum);
    float* previous = sample.workspace().scratch<float>(0, plane);
    float* present = sample.workspace().scratch<float>(1, plane);
    for (std::int64_t x = 0; x < shape[0]; ++x) {
      float* const out = voxels + x * plane;
      std::swap(previous, present);
      std::copy_n(out, plane, present);
      const bool flat = sample.dims() == 2;
      const float* front = flat ? nullptr : x > 0 ? previous : present;
      const float* back = flat ? nullptr : x + 1 < shape[0] ? out + plane : present;
      for (std::int64_t y = 0; y < shape[1]; ++y) {
        const auto row = [&](const float* of, std::int64_t at) {
          return of == nullptr ? nullptr : of + std::clamp<std::int64_t>(at, 0, shape[1] - 1) * shape[2];
        };
        sharpen_row({row(present, y), row(present, y - 1), row(present, y + 1), row(front, y), row(back, y)},
                    out + y * shape[2], shape[2], strength);
      }
      if (!finite) spread_corners({front, present, back}, out, shape);
    }
    if (clamped) simd::clamp_row(voxels, image.channel_size(), before.minimum, before.maximum);
  }

  // Makes NaN of every voxel with one that is not finite among its neighbours, those across its faces left out.
  static void spread_corners(const std::array<const float*, 3>& planes, float* out, const Index3& shape) {
    const auto clipped = [](std::int64_t at, std::int64_t size) { return std::clamp<std::int64_t>(at, 0, size - 1); };
    for (int dx = -1; dx <= 1; ++dx) {
      const float* plane = planes[static_cast<std::size_t>(dx + 1)];
      if (plane == nullptr) continue;
      for (std::int64_t y = 0; y < shape[1]; ++y)
        for (std::int64_t z = 0; z < shape[2]; ++z)
          for (int dy = -1; dy <= 1; ++dy)
            for (int dz = -1; dz <= 1; ++dz) {
              if (std::abs(dx) + std::abs(dy) + std::abs(dz) < 2) continue;
              if (!std::isfinite(plane[clipped(y + dy, shape[1]) * shape[2] + clipped(z + dz, shape[2])]))
                out[y * shape[2] + z] = std::numeric_limits<float>::quiet_NaN();
            }
    }
  }

  Scalar strength_;
  double p_same_for_each_channel_;
  double probability_;
  double p_clamp_intensities_;
};

}  // namespace

std::unique_ptr<Transform> make_sharpening(const Record& attributes) {
  return std::make_unique<Sharpening>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
