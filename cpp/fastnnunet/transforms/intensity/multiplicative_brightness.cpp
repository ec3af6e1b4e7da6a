// MultiplicativeBrightnessTransform: scales the chosen channels.
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet::transforms {
namespace {

class MultiplicativeBrightness final : public ArithmeticTransformOf<ChannelValues> {
 public:
  explicit MultiplicativeBrightness(const Record& attributes)
      : multiplier_(attributes.scalar("multiplier_range")),
        probability_(attributes.probability("p_per_channel")),
        synchronize_(attributes.boolean("synchronize_channels")) {}

  std::string_view name() const override { return "MultiplicativeBrightnessTransform"; }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, ChannelValues& p) const override {
    draw_channels(stream, geometry.image_channels, probability_, p.channels);
    draw_values(stream, geometry, multiplier_, synchronize_, p.channels, p.values);
  }

  bool acts(const ChannelValues& p) const override { return !p.channels.empty(); }

  std::span<const std::int64_t> channels(const ChannelValues& p) const override { return p.channels; }
  sample::Linear arithmetic(const ChannelValues& p, std::size_t number) const override {
    return {.factor = static_cast<float>(p.values[number])};
  }

  Record describe(const ChannelValues& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("multipliers", p.values);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, ChannelValues& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.values = restore_chosen(record, "multipliers", p.channels);
  }

 private:
  Scalar multiplier_;
  double probability_;
  bool synchronize_;
};

}  // namespace

std::unique_ptr<Transform> make_multiplicative_brightness(const Record& attributes) {
  return std::make_unique<MultiplicativeBrightness>(attributes);
}

}  // namespace fastnnunet::transforms
