// The address of a sample: it decides every random number of the sample.
#pragma once

#include <cstdint>

namespace fastnnunet {

// Which sample of which run: enough to make exactly that sample again.
struct SampleId {
  std::uint64_t seed = 0;
  std::uint32_t rank = 0;     // of torch.distributed; 0 where ranks share batches, and the slot tells whose it is
  std::uint32_t role = 0;     // 0 training, 1 validation, ...: loaders of one run that must not see the same numbers
  std::uint64_t step = 0;     // batch
  std::uint32_t slot = 0;     // sample in the batch, that of all ranks where they share batches
  std::uint32_t attempt = 0;  // how many bad cases were drawn before this one

  bool operator==(const SampleId&) const = default;
};

}  // namespace fastnnunet
