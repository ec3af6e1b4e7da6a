// BrightnessGradientAdditiveTransform: adds a local kernel, scaled to a strength.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "fastnnunet/transforms/local/local_transform.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/local/brightness_gradient.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void add_row(float* HWY_RESTRICT values, const float* HWY_RESTRICT weights, std::int64_t count, float mean,
             float divisor, float strength, Extent clip) {
  for (std::int64_t i = 0; i < count; ++i) {
    float value = values[i] + (weights[i] - mean) / divisor * strength;
    value = value < clip.minimum ? clip.minimum : value;
    values[i] = value > clip.maximum ? clip.maximum : value;
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(add_row);

class BrightnessGradientAdditive final : public LocalTransform {
 public:
  explicit BrightnessGradientAdditive(const Record& attributes)
      : LocalTransform(attributes, "max_strength", "strengths"),
        mean_centered_(attributes.boolean("mean_centered")),
        clip_intensities_(attributes.boolean("clip_intensities")) {}

  std::string_view name() const override { return "BrightnessGradientAdditiveTransform"; }

 protected:
  // bgv2's clipping makes all of an image NaN that has one, whether a channel was chosen or not.
  bool acts(const LocalParameters& p) const override { return LocalTransform::acts(p) || clip_intensities_; }

  void apply(sample::Sample& sample, const LocalParameters& p, const Work& work) const override {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    p.clip = {-kInfinity, kInfinity};
    if (clip_intensities_) {
      sample::Array<float>& image = sample.image();
      p.clip = extent({image.data, static_cast<std::size_t>(image.size())});
      if (std::isnan(p.clip.minimum)) {
        std::fill(image.data, image.data + image.size(), std::numeric_limits<float>::quiet_NaN());
        return;
      }
    }
    LocalTransform::apply(sample, p, work);
  }

  bool leaves_out(const LocalKernel& kernel, double strength) const override { return kernel.flat() || strength == 0; }
  // bgv2's kernels have been scaled.
  bool ready_kernels_need_values() const override { return false; }

  void apply_to_channel(sample::Sample& sample, std::int64_t channel, const LocalKernel& kernel, double strength,
                        const LocalParameters& p) const override {
    sample::Array<float>& image = sample.image();
    const Index3 shape = image.shape;
    float centre = 0, divisor = 1, factor = 1;
    if (p.ready.empty()) {
      factor = static_cast<float>(strength);
      if (mean_centered_) {
        p.sums.assign(static_cast<std::size_t>(shape[0]), 0.0);  // of each plane
        kernel.each_row(sample.workspace(), [&](std::int64_t x, std::int64_t, const float* weights) {
          p.sums[static_cast<std::size_t>(x)] += mean({weights, static_cast<std::size_t>(shape[2])});
        });
        const double sum = std::accumulate(p.sums.begin(), p.sums.end(), 0.0);
        centre = static_cast<float>(sum / static_cast<double>(shape[0] * shape[1]));
        divisor = std::max(1.0f - centre, centre);  // weights go from 0 to 1
      }
    }
    float* const values = image.channel(channel);
    kernel.each_row(sample.workspace(), [&](std::int64_t x, std::int64_t y, const float* weights) {
      add_row(values + (x * shape[1] + y) * shape[2], weights, shape[2], centre, divisor, factor, p.clip);
    });
  }

 private:
  bool mean_centered_;
  bool clip_intensities_;
};

}  // namespace

std::unique_ptr<Transform> make_brightness_gradient_additive(const Record& attributes) {
  return std::make_unique<BrightnessGradientAdditive>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
