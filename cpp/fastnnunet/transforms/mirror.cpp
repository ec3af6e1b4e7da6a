// MirrorTransform: flips image and segmentation, each allowed axis with probability 0.5.
#include <algorithm>

#include "fastnnunet/base/clones.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet {
namespace {

// Two rows change places, or one is turned, and all their voxels go through `map`.
struct Same {
  template <typename T>
  T operator()(T value) const {
    return value;
  }
};

template <typename T, typename Map>
FASTNNUNET_INLINE void swap_rows(T* FASTNNUNET_RESTRICT a, T* FASTNNUNET_RESTRICT b, std::int64_t count, bool turn,
                                 Map map) {
  if (turn) {
    for (std::int64_t z = 0; z < count; ++z) {
      const T value = a[z];
      a[z] = map(b[count - 1 - z]);
      b[count - 1 - z] = map(value);
    }
  } else {
    for (std::int64_t z = 0; z < count; ++z) {
      const T value = a[z];
      a[z] = map(b[z]);
      b[z] = map(value);
    }
  }
}

template <typename T, typename Map>
FASTNNUNET_INLINE void turn_row(T* row, std::int64_t count, bool turn, Map map) {
  if (turn) std::reverse(row, row + count);
  for (std::int64_t z = 0; z < count; ++z) row[z] = map(row[z]);
}

// In place: rows change places with their mirror rows and are turned on the way.
template <typename T, typename Map = Same>
FASTNNUNET_INLINE void mirror_channel(T* data, const Index3& shape, const bool (&flip)[3], Map map = {}) {
  const std::int64_t row = shape[2];
  for (std::int64_t x = 0; x < shape[0]; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      const std::int64_t number = x * shape[1] + y;
      const std::int64_t other = (flip[0] ? shape[0] - 1 - x : x) * shape[1] + (flip[1] ? shape[1] - 1 - y : y);
      if (other == number)
        turn_row(data + number * row, row, flip[2], map);
      else if (other > number)
        swap_rows(data + number * row, data + other * row, row, flip[2], map);
    }
}

// Instruction sets differ in how they turn a row.
FASTNNUNET_CLONES
void mirror_image(float* data, const Index3& shape, const bool (&flip)[3], Linear due) {
  mirror_channel(data, shape, flip, due);
}

FASTNNUNET_CLONES
void mirror_labels(std::int16_t* data, const Index3& shape, const bool (&flip)[3]) {
  mirror_channel(data, shape, flip);
}

FASTNNUNET_CLONES
void mirror_regions(std::uint8_t* data, const Index3& shape, const bool (&flip)[3]) {
  mirror_channel(data, shape, flip);
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
    Array<float>& image = sample.image_as_it_is();
    for (std::int64_t c = 0; c < image.channels; ++c)
      mirror_image(image.channel(c), image.shape, flip, sample.take_due(c));
    if (!sample.has_segmentation()) return;
    if (const Target* regions = sample.regions()) {
      auto* data = static_cast<std::uint8_t*>(regions->data);
      for (std::int64_t c = 0; c < regions->channels; ++c)
        mirror_regions(data + c * voxels(regions->shape), regions->shape, flip);
      return;
    }
    Array<std::int16_t>& labels = sample.segmentation();
    for (std::int64_t c = 0; c < labels.channels; ++c) mirror_labels(labels.channel(c), labels.shape, flip);
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
