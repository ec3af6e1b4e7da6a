// What transforms that only move voxels share: MirrorTransform, Rot90Transform and TransposeAxesTransform.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "fastnnunet/sample/moves/moves.h"
#include "fastnnunet/sample/moves/permute.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::transforms {

// Image and segmentation (or regions), channel by channel and in place. Arithmetic that is left of earlier steps is
// done on the way. The shape must be kept.
void permute(sample::Sample& sample, const sample::SampleMoves& moves, const Work& work, std::string_view owner);

template <typename P>
class PermutationOf : public TransformOf<P> {
 public:
  Traits traits() const final { return {.moves_voxels = true, .permutes = true, .takes_regions = true}; }
  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return sample::permutation_scratch(geometry.shape);
  }

 protected:
  // The moves of its parameters, or those that the plan has for it: what is left of them, and of later ones.
  void apply(sample::Sample& sample, const P& parameters, const Work& work) const final {
    if (work.moves() != nullptr) return permute(sample, *work.moves(), work, this->name());
    const sample::AxisPermutation own = this->permutation(parameters, sample.dims());
    permute(sample, {own, own}, work, this->name());
  }
};

// Throws InvalidArgument where an axis is negative or there twice.
void check_axes(std::string_view owner, const std::vector<std::int64_t>& axes);
// Throws InvalidArgument where an axis is not there, or with `equal` where two of them differ in size.
void check_axes(std::string_view owner, const std::vector<std::int64_t>& axes, const Geometry& geometry, bool equal);

}  // namespace fastnnunet::transforms
