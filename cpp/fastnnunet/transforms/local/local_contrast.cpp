// LocalContrastTransform: scales the difference from the mean under a local kernel, as much as the kernel says.
#include <algorithm>
#include <numeric>

#include "fastnnunet/transforms/local/local_transform.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/local/local_contrast.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

constexpr int kLanes = 16;

// Lanes, as float addition is not associative: the order is fixed here and not by the compiler. They stay apart from
// row to row, for rows are short.
void add_row(const float* HWY_RESTRICT values, const float* HWY_RESTRICT weights, std::int64_t count,
             double* HWY_RESTRICT sums) {
  double lanes[kLanes];
  std::copy_n(sums, kLanes, lanes);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(values[i + lane] * weights[i + lane]);
  for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i] * weights[i]);
  std::copy_n(lanes, kLanes, sums);
}

void stretch_row(float* HWY_RESTRICT values, const float* HWY_RESTRICT weights, std::int64_t count, float mean,
                 float contrast) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float stretched = (values[i] - mean) * contrast + mean;
    values[i] = stretched * weights[i] + (1.0f - weights[i]) * values[i];
  }
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

using HWY_NAMESPACE::kLanes;
FASTNNUNET_DISPATCH(add_row);
FASTNNUNET_DISPATCH(stretch_row);

constexpr float kEpsilon = 1e-8f;  // bgv2's guard for kernels without weight

class LocalContrast final : public LocalTransform {
 public:
  explicit LocalContrast(const Record& attributes) : LocalTransform(attributes, "new_contrast", "contrasts") {}

  std::string_view name() const override { return "LocalContrastTransform"; }

 protected:
  void apply_to_channel(sample::Sample& sample, std::int64_t channel, const LocalKernel& kernel, double contrast,
                        const LocalParameters& p) const override {
    sample::Array<float>& image = sample.image();
    if (kernel.flat() && all_finite(image.channel_span(channel))) return;
    float* const values = image.channel(channel);
    const Index3 shape = image.shape;
    p.sums.assign(static_cast<std::size_t>(shape[0] * kLanes), 0.0);  // of each plane
    kernel.each_row(sample.workspace(), [&](std::int64_t x, std::int64_t y, const float* weights) {
      add_row(values + (x * shape[1] + y) * shape[2], weights, shape[2], p.sums.data() + x * kLanes);
    });
    const double sum = std::accumulate(p.sums.begin(), p.sums.end(), 0.0);
    const float mean = static_cast<float>(sum) / (static_cast<float>(kernel.total()) + kEpsilon);
    kernel.each_row(sample.workspace(), [&](std::int64_t x, std::int64_t y, const float* weights) {
      stretch_row(values + (x * shape[1] + y) * shape[2], weights, shape[2], mean, static_cast<float>(contrast));
    });
  }
};

}  // namespace

std::unique_ptr<Transform> make_local_contrast(const Record& attributes) {
  return std::make_unique<LocalContrast>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
