// CutOffOutliersTransform: clamps each chosen channel to two of its percentiles; optionally with the standard deviation
// put back afterwards.
//
// A percentile is found without sorting: the channel's values are counted by the upper half of their bits, and those in
// the half that holds the percentile by the lower half.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/simd/float_key.h"
#include "fastnnunet/base/simd/rows.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/intensity/random_clip.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void scale(float* HWY_RESTRICT values, std::int64_t count, float mean, float old_deviation, float new_deviation) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = (values[i] - mean) / old_deviation * new_deviation + mean;
}

// How many values have this upper half: in most blocks, none.
int count_upper(const float* HWY_RESTRICT values, std::int64_t count, std::uint32_t upper) {
  int found = 0;
  for (std::int64_t i = 0; i < count; ++i) found += (simd::float_key(values[i]) >> 16) == upper;
  return found;
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(scale);
FASTNNUNET_DISPATCH(count_upper);

constexpr const char* kName = "CutOffOutliersTransform";
constexpr float kLeastDeviation = 1e-8f;  // bgv2's guard for constant channels
constexpr std::int64_t kHalf = 1 << 16;

// The values of a channel by rank. None may be NaN.
class Ranking {
 public:
  // `counts` has room for kHalf numbers, `finer` as well.
  Ranking(std::span<const float> values, std::uint32_t* counts, std::uint32_t* finer)
      : values_(values), counts_(counts), finer_(finer) {
    std::fill_n(counts_, kHalf, 0u);
    // Voxels of the background are alike: counted one by one, each would wait for the one before.
    std::uint32_t last = 0, run = 0;
    for (const float value : values_) {
      const std::uint32_t upper = simd::float_key(value) >> 16;
      if (upper != last) {
        counts_[last] += run;
        last = upper;
        run = 0;
      }
      ++run;
    }
    counts_[last] += run;
  }

  float at(std::int64_t rank) {
    std::uint32_t upper = 0;
    for (; rank >= counts_[upper]; ++upper) rank -= counts_[upper];
    if (upper != counted_) count_finer(upper);
    std::uint32_t lower = 0;
    for (; rank >= finer_[lower]; ++lower) rank -= finer_[lower];
    return simd::float_of_key((upper << 16) | lower);
  }

  // As torch.quantile, which computes in float32.
  float quantile(float q) {
    const float place = q * static_cast<float>(std::ssize(values_) - 1);
    const std::int64_t last = std::ssize(values_) - 1;
    const float below = at(std::min(static_cast<std::int64_t>(std::floor(place)), last));
    const float above = at(std::min(static_cast<std::int64_t>(std::ceil(place)), last));
    const float weight = place - std::floor(place);
    const float difference = above - below;
    return weight < 0.5f ? below + weight * difference : above - difference * (1.0f - weight);
  }

 private:
  void count_finer(std::uint32_t upper) {
    constexpr std::int64_t kBlock = 256;
    std::fill_n(finer_, kHalf, 0u);
    const std::int64_t size = std::ssize(values_);
    std::uint32_t last = 0, run = 0;
    for (std::int64_t begin = 0; begin < size; begin += kBlock) {
      const std::int64_t length = std::min(kBlock, size - begin);
      const float* block = values_.data() + begin;
      if (count_upper(block, length, upper) == 0) continue;
      for (std::int64_t i = 0; i < length; ++i) {
        const std::uint32_t key = simd::float_key(block[i]);
        if ((key >> 16) != upper) continue;
        if ((key & 0xFFFFu) != last) {
          finer_[last] += run;
          last = key & 0xFFFFu;
          run = 0;
        }
        ++run;
      }
    }
    finer_[last] += run;
    counted_ = upper;
  }

  std::span<const float> values_;
  std::uint32_t* counts_;
  std::uint32_t* finer_;
  std::int64_t counted_ = -1;  // the upper half that `finer_` is of
};

struct CutParameters : Parameters {
  // One of each for each channel of the image.
  std::vector<std::int64_t> apply;
  std::vector<double> lower;  // percentiles, 0 where not applied
  std::vector<double> upper;
  std::vector<std::int64_t> retain_std;
};

class CutOffOutliers final : public ImageTransformOf<CutParameters> {
 public:
  explicit CutOffOutliers(const Record& attributes)
      : lower_(attributes.scalar("percentile_lower")),
        upper_(attributes.scalar("percentile_upper")),
        synchronize_(attributes.boolean("p_synchronize_channels")),
        probability_(attributes.probability("p_per_channel")),
        p_retain_std_(attributes.probability("p_retain_std")) {}

  std::string_view name() const override { return kName; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry&) const override {
    return {kHalf * sizeof(std::uint32_t), kHalf * sizeof(std::uint32_t)};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, CutParameters& p) const override {
    const auto channels = static_cast<std::size_t>(geometry.image_channels);
    draw_flags(stream, geometry.image_channels, probability_, p.apply);
    p.lower.assign(channels, 0.0);
    p.upper.assign(channels, 0.0);
    p.retain_std.assign(channels, 0);
    bool drawn = false;
    double lower = 0, upper = 0;
    for (std::size_t i = 0; i < channels; ++i) {
      if (p.apply[i] == 0) continue;
      if (!drawn || !synchronize_) {
        lower = lower_.draw(stream, {geometry, std::nullopt, std::nullopt});
        upper = upper_.draw(stream, {geometry, std::nullopt, std::nullopt});
        check_percentile(lower);
        check_percentile(upper);
        drawn = true;
      }
      p.lower[i] = lower;
      p.upper[i] = upper;
    }
    for (std::size_t i = 0; i < channels; ++i)
      if (p.apply[i] != 0) p.retain_std[i] = stream.bernoulli(p_retain_std_);
  }

  bool acts(const CutParameters& p) const override { return any_flag(p.apply); }

  void apply(sample::Sample& sample, const CutParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.apply.size(); ++i)
      if (p.apply[i] != 0)
        cut(sample, image.channel_span(static_cast<std::int64_t>(i)), p.lower[i], p.upper[i], p.retain_std[i] != 0);
  }

  Record describe(const CutParameters& p) const override {
    Record record{kName};
    record.set("apply_channel", to_numbers(p.apply));
    record.set("lower", p.lower);
    record.set("upper", p.upper);
    record.set("retain_std", to_numbers(p.retain_std));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, CutParameters& p) const override {
    p.apply = restore_flags(record, "apply_channel", geometry);
    p.lower = restore_per_channel(record, "lower", geometry);
    p.upper = restore_per_channel(record, "upper", geometry);
    p.retain_std = restore_flags(record, "retain_std", geometry);
    for (const auto* percentiles : {&p.lower, &p.upper})
      for (const double percentile : *percentiles) check_percentile(percentile);
  }

 private:
  static void check_percentile(double percentile) {
    if (!(percentile >= 0.0 && percentile <= 100.0))
      throw InvalidArgument(kName, "percentiles between 0 and 100", std::to_string(percentile));
  }

  static void cut(sample::Sample& sample, std::span<float> values, double lower, double upper, bool retain_std) {
    const auto count = std::ssize(values);
    float old_deviation = 0;
    const Moments before = Moments::of(values);
    float low = before.extent().minimum, high = low;
    if (!std::isnan(low)) {
      old_deviation = static_cast<float>(before.standard_deviation());
      Ranking ranking(values, sample.workspace().scratch<std::uint32_t>(0, kHalf),
                      sample.workspace().scratch<std::uint32_t>(1, kHalf));
      low = ranking.quantile(static_cast<float>(lower / 100.0));
      high = ranking.quantile(static_cast<float>(upper / 100.0));
    }
    // A bound is NaN also where it lies between infinity and something else.
    if (std::isnan(low) || std::isnan(high)) {
      std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
      return;
    }
    simd::clamp_row(values.data(), count, low, high);
    if (!retain_std) return;
    const Moments after = Moments::of(values);
    const auto deviation = static_cast<float>(after.standard_deviation());
    if (deviation > kLeastDeviation)
      scale(values.data(), count, static_cast<float>(after.mean()), deviation, old_deviation);
  }

  Scalar lower_;
  Scalar upper_;
  bool synchronize_;
  double probability_;
  double p_retain_std_;
};

}  // namespace

std::unique_ptr<Transform> make_cut_off_outliers(const Record& attributes) {
  return std::make_unique<CutOffOutliers>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
