// MirrorTransform: flips image and segmentation, each allowed axis with probability 0.5.
#include "fastnnunet/base/error.h"
#include "fastnnunet/sample/flips.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet {
namespace {

struct MirrorParameters : Parameters {
  std::vector<std::int64_t> axes;
};

class Mirror final : public TransformOf<MirrorParameters> {
 public:
  explicit Mirror(const Record& attributes) : allowed_axes_(attributes.integers("allowed_axes")) {
    for (const std::int64_t axis : allowed_axes_)
      if (axis < 0 || axis > 2)
        throw InvalidArgument("MirrorTransform", "'allowed_axes' between 0 and 2", std::to_string(axis));
  }

  std::string_view name() const override { return "MirrorTransform"; }
  bool moves_voxels() const override { return true; }
  bool takes_regions() const override { return true; }

 protected:
  void draw(Stream& stream, const Geometry&, MirrorParameters& p) const override {
    p.axes.clear();
    for (const std::int64_t axis : allowed_axes_)
      if (stream.bernoulli(0.5)) p.axes.push_back(axis);
  }

  bool acts(const MirrorParameters& p) const override { return !p.axes.empty(); }

  void apply(Sample& sample, const MirrorParameters& p, const Stream&) const override {
    const Flips wanted = flips(p, sample.dims());
    const FlippedAhead ahead = sample.take_flipped_ahead();
    const auto in_place = [&](auto* channel, const Index3& shape, const auto&... due) {
      sample.workspace().share(
          shape[0], [&](std::int64_t begin, std::int64_t end) { flip(channel, shape, wanted, begin, end, due...); });
    };
    if (!ahead.image) {
      Array<float>& image = sample.image_as_it_is();
      for (std::int64_t c = 0; c < image.channels; ++c) in_place(image.channel(c), image.shape, sample.take_due(c));
    }
    if (!sample.has_segmentation() || ahead.labels) return;
    if (const Target* regions = sample.regions()) {
      auto* data = static_cast<std::uint8_t*>(regions->data);
      for (std::int64_t c = 0; c < regions->channels; ++c) in_place(data + c * voxels(regions->shape), regions->shape);
      return;
    }
    Array<std::int16_t>& labels = sample.segmentation();
    for (std::int64_t c = 0; c < labels.channels; ++c) in_place(labels.channel(c), labels.shape);
  }

  Flips flips(const MirrorParameters& p, int dims) const override {
    Flips flips{};
    for (const std::int64_t axis : p.axes) {
      const std::int64_t at = axis + 3 - dims;
      if (at > 2) throw InvalidArgument("MirrorTransform", "axes of a 2D image", std::to_string(axis));
      flips[static_cast<std::size_t>(at)] = true;
    }
    return flips;
  }

  Record describe(const MirrorParameters& p) const override {
    Record record{std::string(name())};
    record.set("axes", to_numbers(p.axes));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, MirrorParameters& p) const override {
    p.axes = record.integers("axes");
    for (const std::int64_t axis : p.axes)
      if (axis < 0 || axis >= geometry.dims)
        throw InvalidArgument("MirrorTransform", "'axes' below " + std::to_string(geometry.dims), std::to_string(axis));
  }

 private:
  std::vector<std::int64_t> allowed_axes_;
};

}  // namespace

std::unique_ptr<Transform> make_mirror(const Record& attributes) { return std::make_unique<Mirror>(attributes); }

}  // namespace fastnnunet
