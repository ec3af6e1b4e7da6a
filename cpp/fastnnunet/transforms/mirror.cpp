// MirrorTransform: flips image and segmentation, each allowed axis with probability 0.5.
#include <algorithm>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet {
namespace {

// In place: rows change places with their mirror rows and are reversed on the way.
template <typename T>
void mirror_channel(T* data, const Index3& shape, const bool (&flip)[3]) {
  const std::int64_t row = shape[2];
  const std::int64_t rows = shape[0] * shape[1];
  const auto partner = [&](std::int64_t number) {
    std::int64_t x = number / shape[1], y = number % shape[1];
    if (flip[0]) x = shape[0] - 1 - x;
    if (flip[1]) y = shape[1] - 1 - y;
    return x * shape[1] + y;
  };
  for (std::int64_t number = 0; number < rows; ++number) {
    const std::int64_t other = partner(number);
    T* a = data + number * row;
    if (other == number) {
      if (flip[2]) std::reverse(a, a + row);
      continue;
    }
    if (other < number) continue;
    T* b = data + other * row;
    if (flip[2]) {
      for (std::int64_t z = 0; z < row; ++z) std::swap(a[z], b[row - 1 - z]);
    } else {
      std::swap_ranges(a, a + row, b);
    }
  }
}

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

 protected:
  void draw(Stream& stream, const Geometry&, MirrorParameters& p) const override {
    p.axes.clear();
    for (const std::int64_t axis : allowed_axes_)
      if (stream.bernoulli(0.5)) p.axes.push_back(axis);
  }

  bool acts(const MirrorParameters& p) const override { return !p.axes.empty(); }

  void apply(Sample& sample, const MirrorParameters& p, const Stream&) const override {
    bool flip[3] = {};
    for (const std::int64_t axis : p.axes) {
      const std::int64_t at = axis + 3 - sample.dims();
      if (at > 2) throw InvalidArgument("MirrorTransform", "axes of a 2D image", std::to_string(axis));
      flip[at] = true;
    }
    Array<float>& image = sample.image();
    for (std::int64_t c = 0; c < image.channels; ++c) mirror_channel(image.channel(c), image.shape, flip);
    if (!sample.has_segmentation()) return;
    if (const Target* regions = sample.regions()) {
      auto* data = static_cast<std::uint8_t*>(regions->data);
      for (std::int64_t c = 0; c < regions->channels; ++c)
        mirror_channel(data + c * voxels(regions->shape), regions->shape, flip);
      return;
    }
    Array<std::int16_t>& labels = sample.segmentation();
    for (std::int64_t c = 0; c < labels.channels; ++c) mirror_channel(labels.channel(c), labels.shape, flip);
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
