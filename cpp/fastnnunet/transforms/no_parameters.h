// For transforms that leave nothing to chance.
#pragma once

#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::transforms {

struct NoParameters : Parameters {};

class FixedTransform : public TransformOf<NoParameters> {
 protected:
  using TransformOf<NoParameters>::apply;
  virtual void apply(sample::Sample& sample) const = 0;

  void draw(random::Stream&, const Geometry&, NoParameters&) const final {}
  void apply(sample::Sample& sample, const NoParameters&, const Work&) const final { apply(sample); }
  Record describe(const NoParameters&) const final { return Record{std::string(name())}; }
  void restore(const Record&, const Geometry&, NoParameters&) const final {}
};

}  // namespace fastnnunet::transforms
