// What the extension _torch lends to _core: torch's allocators of memory, as plain functions. The two are linked apart,
// so that _core loads beside any torch, and none; exceptions do not pass between them.
#pragma once

#include <cstddef>

namespace fastnnunet::bindings {

inline constexpr const char* kTorchMemory = "fastnnunet_loader._torch.memory";  // of the capsule that holds the table

struct TorchMemoryTable {
  // A block, or null; then `*error` says why, until this thread's next call.
  void* (*allocate)(std::size_t bytes, bool pinned, const char** error);
  // Of a block that is not written to any more. It may be on its way to a GPU: torch waits for that.
  void (*release)(void* memory);
};

}  // namespace fastnnunet::bindings
