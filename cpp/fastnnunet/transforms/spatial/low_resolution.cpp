// SimulateLowResolutionTransform: nearest-exact down to a fraction of the size, linear up again, as torch's interpolate
// with sizes given and align_corners=False.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/simd/rows.h"
#include "fastnnunet/platform/thread_room.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/nearest_exact.h"

namespace fastnnunet::transforms {
namespace {

constexpr double kMostVoxels = 65536;  // along an axis, in the other resolution

// Where a voxel of the output lies between two of the input.
struct Between {
  std::int64_t lower;
  std::int64_t upper;
  float weight;  // of the upper one
};

void linear_positions(std::int64_t from, std::int64_t to, std::vector<Between>& positions) {
  positions.resize(static_cast<std::size_t>(to));
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  for (std::int64_t i = 0; i < to; ++i) {
    const float at = std::max(0.0f, scale * (static_cast<float>(i) + 0.5f) - 0.5f);
    const auto lower = std::min(static_cast<std::int64_t>(at), from - 1);
    const float weight = std::clamp(at - static_cast<float>(lower), 0.0f, 1.0f);
    // An axis of the same size is copied, as in torch: no neighbour comes in, not even with a weight of 0 (of NaN).
    const std::int64_t upper = from == to ? lower : std::min(lower + 1, from - 1);
    positions[static_cast<std::size_t>(i)] = {lower, upper, weight};
  }
}

struct LowResolutionParameters : Parameters {
  std::vector<std::int64_t> channels;
  std::vector<double> scales;  // (channels, dims)
  mutable std::vector<Between> positions[3];
  mutable std::vector<std::int64_t> nearest[3];
};

class SimulateLowResolution final : public ImageTransformOf<LowResolutionParameters> {
 public:
  explicit SimulateLowResolution(const Record& attributes)
      : scale_(attributes.scalar("scale")),
        synchronize_channels_(attributes.boolean("synchronize_channels")),
        synchronize_axes_(attributes.boolean("synchronize_axes")),
        probability_(attributes.probability("p_per_channel")) {
    if (attributes.has("ignore_axes")) ignore_axes_ = attributes.integers("ignore_axes");
    if (attributes.has("allowed_channels")) {
      restricted_ = true;
      allowed_channels_ = attributes.integers("allowed_channels");
    }
  }

  std::string_view name() const override { return "SimulateLowResolutionTransform"; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float)};
  }
  std::size_t room_bytes(const Geometry& geometry) const override {
    return platform::room_of<float>(geometry.shape[2]);
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, LowResolutionParameters& p) const override {
    if (restricted_) {
      p.channels.clear();
      for (const std::int64_t channel : allowed_channels_)
        if (stream.bernoulli(probability_)) p.channels.push_back(channel);
    } else {
      draw_channels(stream, geometry.image_channels, probability_, p.channels);
    }
    p.scales.clear();
    const auto dims = static_cast<std::size_t>(geometry.dims);
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      for (std::size_t axis = 0; axis < dims; ++axis) {
        if (i > 0 && synchronize_channels_) {
          p.scales.push_back(p.scales[axis]);
        } else if (axis > 0 && synchronize_axes_) {
          p.scales.push_back(p.scales.back());
        } else {
          p.scales.push_back(
              scale_.draw(stream, {geometry, synchronize_channels_ ? std::nullopt : std::optional(p.channels[i]),
                                   synchronize_axes_ ? std::nullopt : std::optional<int>(static_cast<int>(axis))}));
        }
      }
    }
    // Only now: a synchronized axis repeats the draw of the one before it, even where that is ignored.
    for (std::size_t i = 0; i < p.channels.size(); ++i)
      for (const std::int64_t axis : ignore_axes_) p.scales[i * dims + static_cast<std::size_t>(axis)] = 1.0;
  }

  bool acts(const LowResolutionParameters& p) const override { return !p.channels.empty(); }

  void apply(sample::Sample& sample, const LowResolutionParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    const Index3& shape = image.shape;
    const int first_axis = 3 - sample.dims();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      Index3 low = shape;
      for (int axis = first_axis; axis < 3; ++axis) {
        // The factor passes through float32, as in bgv2; Python's round goes to even.
        const auto scale = static_cast<float>(
            p.scales[i * static_cast<std::size_t>(sample.dims()) + static_cast<std::size_t>(axis - first_axis)]);
        const double voxels_left = std::nearbyint(static_cast<double>(shape[axis]) * double{scale});
        if (!(voxels_left >= 1 && voxels_left <= kMostVoxels))
          throw InvalidArgument("SimulateLowResolutionTransform",
                                "'scales' that make from 1 to 65536 voxels of " + std::to_string(shape[axis]),
                                std::to_string(scale));
        low[axis] = static_cast<std::int64_t>(voxels_left);
      }
      if (low == shape) continue;
      for (int axis = 0; axis < 3; ++axis) {
        linear_positions(low[axis], shape[axis], p.positions[axis]);
        if (low[axis] <= shape[axis]) {
          nearest_exact_positions(shape[axis], low[axis], p.nearest[axis]);
          continue;
        }
        // A grid that is larger than the image repeats its voxels: these are taken in place of the grid's, so that what
        // is kept is never more than the image.
        for (Between& at : p.positions[axis]) {
          at.lower = nearest_exact(at.lower, shape[axis], low[axis]);
          at.upper = nearest_exact(at.upper, shape[axis], low[axis]);
        }
        p.nearest[axis].resize(static_cast<std::size_t>(shape[axis]));
        std::iota(p.nearest[axis].begin(), p.nearest[axis].end(), 0);
        low[axis] = shape[axis];
      }
      resample(sample.workspace(), image.channel(p.channels[i]), shape, low, p);
    }
  }

  Record describe(const LowResolutionParameters& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("scales", p.scales);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, LowResolutionParameters& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.scales = record.numbers("scales");
    if (p.scales.size() != p.channels.size() * static_cast<std::size_t>(geometry.dims))
      throw InvalidArgument("SimulateLowResolutionTransform", "'scales' for each channel and axis",
                            std::to_string(p.scales.size()));
  }

 private:
  // Rows of the small grid are gathered and widened along Z; those of the result lie between four of them.
  static void resample(sample::Workspace& workspace, float* channel, const Index3& shape, const Index3& low,
                       const LowResolutionParameters& p) {
    const std::int64_t size = shape[2];
    float* const wide = workspace.scratch<float>(0, low[0] * low[1] * size);  // (low X, low Y, Z)
    workspace.share(low[0] * low[1], [&](std::int64_t begin, std::int64_t end) {
      float* const small = platform::thread_room<float>(low[2]);
      for (std::int64_t row = begin; row < end; ++row) {
        const float* from = channel + (p.nearest[0][static_cast<std::size_t>(row / low[1])] * shape[1] +
                                       p.nearest[1][static_cast<std::size_t>(row % low[1])]) *
                                          size;
        for (std::int64_t z = 0; z < low[2]; ++z) small[z] = from[p.nearest[2][static_cast<std::size_t>(z)]];
        float* const to = wide + row * size;
        for (std::int64_t z = 0; z < size; ++z) {
          const Between& at = p.positions[2][static_cast<std::size_t>(z)];
          to[z] = simd::mix(small[at.lower], small[at.upper], at.weight);
        }
      }
    });
    workspace.share(shape[0], [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t x = begin; x < end; ++x) {
        const Between& along_x = p.positions[0][static_cast<std::size_t>(x)];
        const float* const lower = wide + along_x.lower * low[1] * size;
        const float* const upper = wide + along_x.upper * low[1] * size;
        for (std::int64_t y = 0; y < shape[1]; ++y) {
          const Between& along_y = p.positions[1][static_cast<std::size_t>(y)];
          simd::mix_rows(lower + along_y.lower * size, lower + along_y.upper * size, upper + along_y.lower * size,
                         upper + along_y.upper * size, size, along_x.weight, along_y.weight,
                         channel + (x * shape[1] + y) * size);
        }
      }
    });
  }

  Scalar scale_;
  bool synchronize_channels_;
  bool synchronize_axes_;
  double probability_;
  std::vector<std::int64_t> ignore_axes_;
  bool restricted_ = false;
  std::vector<std::int64_t> allowed_channels_;
};

}  // namespace

std::unique_ptr<Transform> make_simulate_low_resolution(const Record& attributes) {
  return std::make_unique<SimulateLowResolution>(attributes);
}

}  // namespace fastnnunet::transforms
