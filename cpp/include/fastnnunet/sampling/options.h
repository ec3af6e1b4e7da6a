// How cases and patches are chosen: the settings of nnU-Net's data loader.
#pragma once

#include <cstdint>
#include <vector>

#include "fastnnunet/base/box.h"

namespace fastnnunet {

struct SamplingOptions {
  std::int64_t batch_size = 2;
  Index3 patch_size{};        // what is cut out of the image, before augmentation
  Index3 final_patch_size{};  // what the network gets
  Index3 pad_sides{};         // added to the difference of the two
  double oversample_foreground = 0.33;
  bool probabilistic_oversampling = false;       // each sample with that probability, not the last ones of the batch
  bool has_ignore = false;                       // unforced patches are then centred on annotated voxels
  std::vector<double> sampling_probabilities{};  // of the cases; empty: uniform
  // Ranks that share the batch of a step make `batch_size` samples of it each, from slot `first_slot` on. Slots count
  // in the whole batch, also for the share with foreground.
  std::int64_t first_slot = 0;
  std::int64_t global_batch_size = 0;  // of all ranks together; 0: there are no others

  std::int64_t whole_batch() const { return global_batch_size > 0 ? global_batch_size : batch_size; }
};

}  // namespace fastnnunet
