// Which case and which patch: the decisions of nnUNetDataLoader.get_indices and get_bbox.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/random/stream.h"
#include "fastnnunet/sampling/class_locations.h"
#include "fastnnunet/sampling/options.h"

namespace fastnnunet::sampling {

class PatchSampler {
 public:
  // Throws InvalidArgument where options contradict each other.
  PatchSampler(SamplingOptions options, std::int64_t cases);

  struct Choice {
    std::int64_t case_number = 0;
    bool force_foreground = false;
  };
  // The case of a slot of the batch, and whether its patch must show foreground.
  Choice choose_case(random::Stream& stream, std::int64_t slot) const;

  // True where a patch is placed by class locations, which then must be given.
  bool needs_locations(bool force_foreground) const { return force_foreground || options_.has_ignore; }

  // The patch in voxels of the image; it may reach outside. `locations` may be null where it is not needed.
  Box place(random::Stream& stream, const Index3& image_shape, bool force_foreground,
            const ClassLocations* locations) const;

  const SamplingOptions& options() const { return options_; }

 private:
  SamplingOptions options_;
  std::vector<double> cumulative_;  // of sampling_probabilities
  std::int64_t cases_;
};

}  // namespace fastnnunet::sampling
