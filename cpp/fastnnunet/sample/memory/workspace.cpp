#include "fastnnunet/sample/memory/workspace.h"

namespace fastnnunet::sample {

std::size_t Workspace::bytes() const {
  std::size_t total = 0;
  for (const platform::Buffer& buffer : scratch_) total += buffer.bytes();
  for (const platform::Buffer& buffer : image_) total += buffer.bytes();
  for (const platform::Buffer& buffer : segmentation_) total += buffer.bytes();
  for (const platform::Buffer& buffer : targets_) total += buffer.bytes();
  for (const platform::Buffer& buffer : regions_) total += buffer.bytes();
  return total;
}

Workspace::ScratchSizes Workspace::scratch_bytes() const {
  ScratchSizes sizes{};
  for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = scratch_[i].bytes();
  return sizes;
}

}  // namespace fastnnunet::sample
