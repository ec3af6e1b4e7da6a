// InvertImageTransform: mirrors the intensities of each chosen channel at their mean.
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/statistics.h"

namespace fastnnunet::transforms {
namespace {

struct InvertParameters : Parameters {
  bool apply = false;
  std::vector<std::int64_t> channels;
};

class InvertImage final : public ImageTransformOf<InvertParameters> {
 public:
  explicit InvertImage(const Record& attributes)
      : p_invert_image_(attributes.probability("p_invert_image")),
        p_synchronize_channels_(attributes.probability("p_synchronize_channels")),
        probability_(attributes.probability("p_per_channel")) {}

  std::string_view name() const override { return "InvertImageTransform"; }
  Traits traits() const override {
    return {.labels = Traits::kUntouched, .takes_arithmetic = true, .leaves_arithmetic = true};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, InvertParameters& p) const override {
    p.channels.clear();
    p.apply = stream.bernoulli(p_invert_image_);
    if (!p.apply) return;
    // Synchronized means all of them, whatever the probability of each.
    const double probability = stream.bernoulli(p_synchronize_channels_) ? 1.0 : probability_;
    draw_channels(stream, geometry.image_channels, probability, p.channels);
  }

  bool acts(const InvertParameters& p) const override { return p.apply && !p.channels.empty(); }

  std::span<const std::int64_t> channels(const InvertParameters& p) const override { return p.channels; }

  // Looks for the mean only.
  void apply(sample::Sample& sample, const InvertParameters& p, const Work& work) const override {
    if (!p.apply) return;
    sample::Array<float>& image = sample.image();
    for (const std::int64_t channel : p.channels) {
      const sample::Linear due = work.take(channel);
      const double centre = mean(image.channel_span(channel)) * double{due.factor} + double{due.shift};
      work.leave(sample, channel, due.then({.factor = -1.0f, .shift = 2.0f * static_cast<float>(centre)}));
    }
  }

  Record describe(const InvertParameters& p) const override {
    Record record{std::string(name())};
    record.set("apply", p.apply);
    record.set("apply_to_channel", to_numbers(p.channels));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, InvertParameters& p) const override {
    p.apply = record.boolean("apply");
    p.channels = restore_channels(record, "apply_to_channel", geometry);
  }

 private:
  double p_invert_image_;
  double p_synchronize_channels_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_invert_image(const Record& attributes) {
  return std::make_unique<InvertImage>(attributes);
}

}  // namespace fastnnunet::transforms
