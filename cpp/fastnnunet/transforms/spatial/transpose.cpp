// TransposeAxesTransform: the allowed axes change places at random. All of them must be of one size, as for bgv2; where
// bgv2 says so while it draws, this says so as soon as the shape is known.
#include <algorithm>
#include <numeric>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/spatial/axis_permutation.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "TransposeAxesTransform";

struct TransposeParameters : Parameters {
  std::vector<std::int64_t> order;  // bgv2's: with the channels as axis 0
  sample::AxisPermutation permutation;
  std::vector<std::int64_t> shuffled;
};

class TransposeAxes final : public PermutationOf<TransposeParameters> {
 public:
  explicit TransposeAxes(const Record& attributes) : allowed_(attributes.integers("allowed_axes")) {
    check_axes(kName, allowed_);
    std::sort(allowed_.begin(), allowed_.end());
  }

  std::string_view name() const override { return kName; }

  Geometry after(const Geometry& geometry) const override {
    check_axes(kName, allowed_, geometry, true);
    return geometry;
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, TransposeParameters& p) const override {
    check_axes(kName, allowed_, geometry, true);
    p.shuffled = allowed_;
    stream.shuffle(p.shuffled);
    p.order.resize(static_cast<std::size_t>(geometry.dims) + 1);
    std::iota(p.order.begin(), p.order.end(), 0);
    for (std::size_t i = 0; i < allowed_.size(); ++i)
      p.order[static_cast<std::size_t>(allowed_[i]) + 1] = p.shuffled[i] + 1;
    set_permutation(geometry, p);
  }

  bool acts(const TransposeParameters& p) const override { return p.permutation.changes(); }

  sample::AxisPermutation permutation(const TransposeParameters& p, int) const override { return p.permutation; }

  Record describe(const TransposeParameters& p) const override {
    Record record{std::string(name())};
    record.set("axis_order", to_numbers(p.order));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, TransposeParameters& p) const override {
    p.order = record.integers("axis_order");
    std::vector<std::int64_t> sorted = p.order, all(static_cast<std::size_t>(geometry.dims) + 1);
    std::iota(all.begin(), all.end(), 0);
    std::sort(sorted.begin(), sorted.end());
    if (sorted != all || p.order.front() != 0)
      throw InvalidArgument(kName, "'axis_order' of 0 and then 1 to " + std::to_string(geometry.dims) + " in any order",
                            text(p.order));
    set_permutation(geometry, p);
    if (!p.permutation.keeps(geometry.shape))
      throw InvalidArgument(kName, "'axis_order' that exchanges axes of one size", text(p.order));
  }

 private:
  static void set_permutation(const Geometry& geometry, TransposeParameters& p) {
    p.permutation = {};
    const int first = 3 - geometry.dims;
    for (int axis = first; axis < 3; ++axis)
      p.permutation.from[axis] = static_cast<int>(p.order[static_cast<std::size_t>(axis - first + 1)]) - 1 + first;
  }

  static std::string text(const std::vector<std::int64_t>& order) {
    std::string text;
    for (const std::int64_t axis : order) text += (text.empty() ? "" : ", ") + std::to_string(axis);
    return text;
  }

  std::vector<std::int64_t> allowed_;
};

}  // namespace

std::unique_ptr<Transform> make_transpose_axes(const Record& attributes) {
  return std::make_unique<TransposeAxes>(attributes);
}

}  // namespace fastnnunet::transforms
