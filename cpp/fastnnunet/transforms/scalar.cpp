#include "fastnnunet/transforms/scalar.h"

#include <algorithm>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/random/stream.h"

namespace fastnnunet {

Scalar Scalar::constant(double value) {
  Scalar scalar;
  scalar.low_ = scalar.high_ = value;
  return scalar;
}

Scalar Scalar::range(double low, double high) {
  if (!(low <= high))
    throw InvalidArgument("RandomScalar", "a pair with the lower number first",
                          "(" + std::to_string(low) + ", " + std::to_string(high) + ")");
  Scalar scalar;
  scalar.kind_ = low == high ? Kind::constant : Kind::range;
  scalar.low_ = low;
  scalar.high_ = high;
  return scalar;
}

Scalar Scalar::contrast(double low, double high) {
  Scalar scalar;
  scalar.kind_ = Kind::contrast;
  scalar.low_ = low;
  scalar.high_ = high;
  return scalar;
}

Scalar Scalar::callable(Callable callable) {
  Scalar scalar;
  scalar.kind_ = Kind::callable;
  scalar.callable_ = std::move(callable);
  return scalar;
}

double Scalar::draw(random::Stream& stream, const ScalarQuestion& question) const {
  switch (kind_) {
    case Kind::constant:
      return low_;
    case Kind::range:
      return stream.uniform(low_, high_);
    case Kind::contrast:
      if (stream.uniform() < 0.5 && low_ < 1.0) return stream.uniform(low_, 1.0);
      return stream.uniform(std::max(low_, 1.0), high_);
    case Kind::callable:
      return callable_(question, stream.seed_for_python());
  }
  return low_;
}

std::optional<double> Scalar::upper_bound() const {
  if (kind_ == Kind::callable) return std::nullopt;
  return std::max(low_, high_);
}

}  // namespace fastnnunet
