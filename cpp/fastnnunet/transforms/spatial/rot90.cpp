// Rot90Transform: several turns by multiples of 90 degrees, each of a random pair of the allowed axes, done as one.
// bgv2 gives a turned image another shape where the axes differ in size, and batches have one shape: so the allowed
// axes must be of one size, unless every number of turns to choose from is even.
#include <cmath>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/spatial/axis_permutation.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "Rot90Transform";

struct Rot90Parameters : Parameters {
  std::vector<std::int64_t> turns;  // of each combination
  std::vector<std::int64_t> axes;   // (combinations, 2), bgv2's: with the channels as axis 0
  sample::AxisPermutation permutation;
};

bool is_odd(std::int64_t number) { return number % 2 != 0; }

class Rot90 final : public PermutationOf<Rot90Parameters> {
 public:
  explicit Rot90(const Record& attributes)
      : combinations_(attributes.scalar("num_axis_combinations")),
        turns_(attributes.integers("num_rot_per_combination")),
        allowed_(attributes.integers("allowed_axes")) {
    check_axes(kName, allowed_);
    if (allowed_.size() < 2)
      throw InvalidArgument(kName, "'allowed_axes' of at least two axes", std::to_string(allowed_.size()));
    if (turns_.empty()) throw InvalidArgument(kName, "'num_rot_per_combination' of at least one number", "none");
    for (const std::int64_t turns : turns_) any_odd_ = any_odd_ || is_odd(turns);
  }

  std::string_view name() const override { return kName; }

  Geometry after(const Geometry& geometry) const override {
    check_axes(kName, allowed_, geometry, any_odd_);
    return geometry;
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, Rot90Parameters& p) const override {
    check_axes(kName, allowed_, geometry, any_odd_);
    p.turns.clear();
    p.axes.clear();
    // To even where it is half way, as Python's round.
    const double combinations = std::nearbyint(combinations_.draw(stream, {geometry, std::nullopt, std::nullopt}));
    // NOLINTNEXTLINE(bugprone-float-loop-counter): a whole number that may exceed any integer type
    for (double i = 0; i < combinations; ++i) {
      p.turns.push_back(turns_[stream.below(turns_.size())]);
      const std::uint64_t first = stream.below(allowed_.size());
      const std::uint64_t second = stream.below(allowed_.size() - 1);
      const std::int64_t a = allowed_[first], b = allowed_[second + (second >= first ? 1 : 0)];
      p.axes.push_back(std::min(a, b) + 1);
      p.axes.push_back(std::max(a, b) + 1);
    }
    set_permutation(geometry, p);
  }

  bool acts(const Rot90Parameters& p) const override { return p.permutation.changes(); }

  sample::AxisPermutation permutation(const Rot90Parameters& p, int) const override { return p.permutation; }

  Record describe(const Rot90Parameters& p) const override {
    Record record{std::string(name())};
    Record::Rows pairs;
    for (std::size_t i = 0; i < p.axes.size(); i += 2)
      pairs.push_back({static_cast<double>(p.axes[i]), static_cast<double>(p.axes[i + 1])});
    record.set("num_rot_per_combination", to_numbers(p.turns));
    record.set("axis_combinations", pairs);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, Rot90Parameters& p) const override {
    p.turns = record.integers("num_rot_per_combination");
    p.axes.clear();
    const auto& pairs = record.rows("axis_combinations");
    if (pairs.size() != p.turns.size())
      throw InvalidArgument(kName, "'axis_combinations' for each of " + std::to_string(p.turns.size()) + " rotations",
                            std::to_string(pairs.size()));
    for (const auto& pair : pairs) {
      if (pair.size() != 2)
        throw InvalidArgument(kName, "'axis_combinations' of two axes", std::to_string(pair.size()));
      for (const double axis : pair) {
        if (!(axis >= 1 && axis <= geometry.dims) || axis != std::floor(axis))
          throw InvalidArgument(kName, "'axis_combinations' from 1 to " + std::to_string(geometry.dims),
                                std::to_string(axis));
        p.axes.push_back(static_cast<std::int64_t>(axis));
      }
      if (pair[0] == pair[1])
        throw InvalidArgument(kName, "'axis_combinations' of two axes", std::to_string(p.axes.back()) + " twice");
    }
    set_permutation(geometry, p);
    if (!p.permutation.keeps(geometry.shape))
      throw InvalidArgument(kName, "'axis_combinations' that keep the image's shape", "another shape");
  }

 private:
  static void set_permutation(const Geometry& geometry, Rot90Parameters& p) {
    p.permutation = {};
    const std::int64_t first = 3 - geometry.dims;
    for (std::size_t i = 0; i < p.turns.size(); ++i)
      for (std::int64_t turn = 0; turn < ((p.turns[i] % 4) + 4) % 4; ++turn)
        p.permutation.turn(static_cast<int>(p.axes[2 * i] - 1 + first),
                           static_cast<int>(p.axes[2 * i + 1] - 1 + first));
  }

  Scalar combinations_;
  std::vector<std::int64_t> turns_;
  std::vector<std::int64_t> allowed_;
  bool any_odd_ = false;
};

}  // namespace

std::unique_ptr<Transform> make_rot90(const Record& attributes) { return std::make_unique<Rot90>(attributes); }

}  // namespace fastnnunet::transforms
