// BrightnessAdditiveTransform: adds a number to each chosen channel. batchgeneratorsv2 draws it from a normal
// distribution, but uniformly between mu and sigma where the channels are synchronized.
#include <cmath>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "BrightnessAdditiveTransform";

struct ShiftParameters : Parameters {
  std::vector<std::int64_t> channels;  // the chosen ones
  std::vector<double> shift;           // for all channels of the image; none where none is chosen
};

class BrightnessAdditive final : public ArithmeticTransformOf<ShiftParameters> {
 public:
  explicit BrightnessAdditive(const Record& attributes)
      : mu_(attributes.number("mu")),
        sigma_(attributes.number("sigma")),
        synchronize_(attributes.boolean("synchronize_channels")),
        probability_(attributes.probability("p_per_channel")) {
    if (!std::isfinite(mu_)) throw InvalidArgument(kName, "a finite 'mu'", std::to_string(mu_));
    if (!std::isfinite(sigma_)) throw InvalidArgument(kName, "a finite 'sigma'", std::to_string(sigma_));
    if (synchronize_ && mu_ > sigma_)
      throw InvalidArgument(kName, "'sigma' of at least 'mu' where 'synchronize_channels' is set",
                            std::to_string(sigma_) + " and " + std::to_string(mu_));
    if (!synchronize_ && sigma_ < 0.0) throw InvalidArgument(kName, "'sigma' of at least 0", std::to_string(sigma_));
  }

  std::string_view name() const override { return kName; }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, ShiftParameters& p) const override {
    p.shift.clear();
    draw_channels(stream, geometry.image_channels, probability_, p.channels);
    if (p.channels.empty()) return;
    const auto channels = static_cast<std::size_t>(geometry.image_channels);
    if (synchronize_) {
      p.shift.assign(channels, mu_ == sigma_ ? mu_ : stream.uniform(mu_, sigma_));
    } else {
      for (std::size_t i = 0; i < channels; ++i) p.shift.push_back(mu_ + sigma_ * stream.normal());
    }
  }

  bool acts(const ShiftParameters& p) const override { return !p.channels.empty(); }

  std::span<const std::int64_t> channels(const ShiftParameters& p) const override { return p.channels; }
  sample::Linear arithmetic(const ShiftParameters& p, std::size_t number) const override {
    return {.shift = static_cast<float>(p.shift[static_cast<std::size_t>(p.channels[number])])};
  }

  Record describe(const ShiftParameters& p) const override {
    Record record{kName};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("shift", p.shift);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, ShiftParameters& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.shift.clear();
    if (!p.channels.empty()) p.shift = restore_per_channel(record, "shift", geometry);
  }

 private:
  double mu_;
  double sigma_;
  bool synchronize_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_brightness_additive(const Record& attributes) {
  return std::make_unique<BrightnessAdditive>(attributes);
}

}  // namespace fastnnunet::transforms
