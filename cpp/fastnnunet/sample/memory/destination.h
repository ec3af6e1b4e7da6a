// Where the finished sample goes.
#pragma once

#include <memory>
#include <vector>

#include "fastnnunet/sample/array.h"
#include "fastnnunet/sample/target.h"

namespace fastnnunet::sample {

// Where the finished sample is wanted: memory inside a batch buffer. Empty where the caller takes it from the
// workspace.
struct Destination {
  Array<float> image;
  Array<float> regression;
  std::vector<Target> targets;
  std::shared_ptr<void> owner;  // of all; for those who keep what they were shown
};

}  // namespace fastnnunet::sample
