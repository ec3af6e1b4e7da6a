// GaussianNoiseTransform: adds normal noise; what bgv2 calls noise_variance is used as its standard deviation.
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet::transforms {
namespace {

class GaussianNoise final : public ImageTransformOf<ChannelValues> {
 public:
  explicit GaussianNoise(const Record& attributes)
      : sigma_(attributes.scalar("noise_variance")),
        probability_(attributes.probability("p_per_channel")),
        synchronize_(attributes.boolean("synchronize_channels")) {}

  std::string_view name() const override { return "GaussianNoiseTransform"; }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, ChannelValues& p) const override {
    draw_channels(stream, geometry.image_channels, probability_, p.channels);
    draw_values(stream, geometry, sigma_, synchronize_, p.channels, p.values);
  }

  bool acts(const ChannelValues& p) const override { return !p.channels.empty(); }

  void apply(sample::Sample& sample, const ChannelValues& p, const Work& work) const override {
    sample::Array<float>& image = sample.image();
    const auto size = static_cast<std::uint64_t>(image.channel_size());
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      const auto sigma = static_cast<float>(p.values[i]);
      sample.workspace().share_values(image.channel_span(p.channels[i]), [&](std::span<float> part, std::size_t first) {
        work.field().add_normal(part, i * size + first, sigma);
      });
    }
  }

  Record describe(const ChannelValues& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channel", to_numbers(p.channels));
    record.set("sigmas", p.values);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, ChannelValues& p) const override {
    p.channels = restore_channels(record, "apply_to_channel", geometry);
    p.values = restore_chosen(record, "sigmas", p.channels);
  }

 private:
  Scalar sigma_;
  double probability_;
  bool synchronize_;
};

}  // namespace

std::unique_ptr<Transform> make_gaussian_noise(const Record& attributes) {
  return std::make_unique<GaussianNoise>(attributes);
}

}  // namespace fastnnunet::transforms
