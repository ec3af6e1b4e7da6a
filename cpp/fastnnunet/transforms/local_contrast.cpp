// LocalContrastTransform: scales the difference from the mean under a local kernel, as much as the kernel says.
#include <algorithm>
#include <numeric>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/transforms/local_kernel.h"

namespace fastnnunet {
namespace {

constexpr float kEpsilon = 1e-8f;  // bgv2's guard for kernels without weight
constexpr int kLanes = 16;

// Lanes, as float addition is not associative: the order is fixed here and not by the compiler. They stay apart from
// row to row, for rows are short.
struct WeightedSum {
  double lanes[kLanes] = {};

  double total() const { return std::accumulate(lanes, lanes + kLanes, 0.0); }
};

FASTNNUNET_CLONES
void add_row(const float* FASTNNUNET_RESTRICT values, const float* FASTNNUNET_RESTRICT weights, std::int64_t count,
             WeightedSum& sum) {
  double lanes[kLanes];
  std::copy_n(sum.lanes, kLanes, lanes);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += static_cast<double>(values[i + lane] * weights[i + lane]);
  for (; i < count; ++i) lanes[i % kLanes] += static_cast<double>(values[i] * weights[i]);
  std::copy_n(lanes, kLanes, sum.lanes);
}

FASTNNUNET_CLONES
void stretch_row(float* FASTNNUNET_RESTRICT values, const float* FASTNNUNET_RESTRICT weights, std::int64_t count,
                 float mean, float contrast) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float stretched = (values[i] - mean) * contrast + mean;
    values[i] = stretched * weights[i] + (1.0f - weights[i]) * values[i];
  }
}

class LocalContrast final : public LocalTransform {
 public:
  explicit LocalContrast(const Record& attributes) : LocalTransform(attributes, "new_contrast", "contrasts") {}

  std::string_view name() const override { return "LocalContrastTransform"; }

 protected:
  void apply_to_channel(Sample& sample, std::int64_t channel, const LocalKernel& kernel, double contrast,
                        const LocalParameters&) const override {
    Array<float>& image = sample.image();
    if (kernel.flat() && all_finite(image.channel_span(channel))) return;
    float* const values = image.channel(channel);
    const Index3 shape = image.shape;
    WeightedSum sum;
    for (std::int64_t x = 0; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        add_row(values + (x * shape[1] + y) * shape[2], kernel.row(x, y), shape[2], sum);
    const float mean = static_cast<float>(sum.total()) / (static_cast<float>(kernel.total()) + kEpsilon);
    for (std::int64_t x = 0; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        stretch_row(values + (x * shape[1] + y) * shape[2], kernel.row(x, y), shape[2], mean,
                    static_cast<float>(contrast));
  }
};

}  // namespace

std::unique_ptr<Transform> make_local_contrast(const Record& attributes) {
  return std::make_unique<LocalContrast>(attributes);
}

}  // namespace fastnnunet
