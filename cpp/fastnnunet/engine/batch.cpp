#include "fastnnunet/engine/batch.h"

#include "fastnnunet/platform/pages.h"
#include "fastnnunet/sample/memory/destination.h"

namespace fastnnunet {

void* OrdinaryMemory::allocate(std::size_t bytes) { return platform::take_pages(bytes); }

void OrdinaryMemory::release(void* memory, std::size_t bytes) noexcept { platform::give_pages(memory, bytes); }

void BatchMemory::locate(const Layout& layout, std::int64_t slot, sample::Destination& destination) const {
  destination.image = {nullptr, layout.image_channels, layout.image_shape};
  destination.targets.clear();
  destination.image.data = data + slot * destination.image.size();
  destination.regression = {nullptr, layout.regression_channels, layout.regression_shape};
  if (regression != nullptr) destination.regression.data = regression + slot * destination.regression.size();
  for (std::size_t i = 0; i < targets.size(); ++i) {
    sample::Target target{layout.targets[i].type, nullptr, layout.targets[i].channels, layout.targets[i].shape};
    target.data = static_cast<std::byte*>(targets[i]) + static_cast<std::size_t>(slot) * target.bytes();
    destination.targets.push_back(target);
  }
}

}  // namespace fastnnunet
