// batchgeneratorsv2's RandomScalar: a number, a range to draw from, nnU-Net's BGContrast, or any callable.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "fastnnunet/base/api.h"
#include "fastnnunet/sample/geometry.h"

namespace fastnnunet {

namespace random {
class Stream;
}

// What a callable is asked for.
struct ScalarQuestion {
  Geometry geometry;
  std::optional<std::int64_t> channel;
  std::optional<int> axis;  // 0-based among the axes that count
  // Of SpatialTransform, for the magnitude of its elastic deformation.
  std::optional<double> deformation_scale{};
};

class FASTNNUNET_API Scalar {
 public:
  // The seed makes a callable's own random numbers part of the sample's.
  using Callable = std::function<double(const ScalarQuestion&, std::uint64_t seed)>;

  static Scalar constant(double value);
  // [low, high); low == high gives it exactly. Throws InvalidArgument for low > high.
  static Scalar range(double low, double high);
  // BGContrast: half of the draws from [low, 1) where low < 1, else from [max(low, 1), high).
  static Scalar contrast(double low, double high);
  static Scalar callable(Callable callable);

  double draw(random::Stream& stream, const ScalarQuestion& question) const;
  // What draw cannot exceed; none for a callable.
  std::optional<double> upper_bound() const;

 private:
  enum class Kind { constant, range, contrast, callable };
  Kind kind_ = Kind::constant;
  double low_ = 0;
  double high_ = 0;
  Callable callable_;
};

}  // namespace fastnnunet
