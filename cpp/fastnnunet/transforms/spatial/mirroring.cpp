// MirrorTransform: flips image and segmentation, each allowed axis with probability 0.5.
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/spatial/axis_permutation.h"

namespace fastnnunet::transforms {
namespace {

struct MirrorParameters : Parameters {
  std::vector<std::int64_t> axes;
};

class Mirror final : public PermutationOf<MirrorParameters> {
 public:
  explicit Mirror(const Record& attributes) : allowed_axes_(attributes.integers("allowed_axes")) {
    for (const std::int64_t axis : allowed_axes_)
      if (axis < 0 || axis > 2)
        throw InvalidArgument("MirrorTransform", "'allowed_axes' between 0 and 2", std::to_string(axis));
  }

  std::string_view name() const override { return "MirrorTransform"; }
  sample::Workspace::ScratchSizes scratch_bytes(const Geometry&) const override { return {}; }

 protected:
  void draw(random::Stream& stream, const Geometry&, MirrorParameters& p) const override {
    p.axes.clear();
    for (const std::int64_t axis : allowed_axes_)
      if (stream.bernoulli(0.5)) p.axes.push_back(axis);
  }

  bool acts(const MirrorParameters& p) const override { return !p.axes.empty(); }

  sample::AxisPermutation permutation(const MirrorParameters& p, int dims) const override {
    sample::AxisPermutation mirrored;
    for (const std::int64_t axis : p.axes) {
      const std::int64_t at = axis + 3 - dims;
      if (at > 2) throw InvalidArgument("MirrorTransform", "axes of a 2D image", std::to_string(axis));
      mirrored.reversed[static_cast<std::size_t>(at)] = true;
    }
    return mirrored;
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

}  // namespace fastnnunet::transforms
