// Pinned memory from torch's own allocator, through the stable ABI.
#include "bindings.h"
#include "fastnnunet/base/error.h"

#ifdef FASTNNUNET_WITH_TORCH
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <mutex>
#include <unordered_map>
#endif

namespace fastnnunet::bindings {
#ifdef FASTNNUNET_WITH_TORCH
namespace {

// Every block is a tensor of torch's of its own, so that its allocator finds it by its address, notes the copies that
// are made from it, and does not give it out again before they are done.
class PinnedMemory final : public MemoryProvider {
 public:
  void* allocate(std::size_t bytes) override {
    const std::int64_t size = static_cast<std::int64_t>(bytes);
    torch::stable::Tensor tensor =
        torch::stable::empty({&size, 1}, torch::headeronly::ScalarType::Byte, std::nullopt,
                             torch::stable::Device(torch::headeronly::DeviceType::CPU, -1), true);
    void* memory = tensor.mutable_data_ptr();
    const std::lock_guard lock(mutex_);
    tensors_.emplace(memory, std::move(tensor));
    return memory;
  }

  void release(void* memory, std::size_t) noexcept override {
    const std::lock_guard lock(mutex_);
    tensors_.erase(memory);
  }

  bool rewritable() const override { return false; }

 private:
  std::mutex mutex_;
  std::unordered_map<void*, torch::stable::Tensor> tensors_;
};

}  // namespace
#endif

std::shared_ptr<MemoryProvider> make_memory(bool pinned) {
  if (!pinned) return std::make_shared<OrdinaryMemory>();
#ifdef FASTNNUNET_WITH_TORCH
  return std::make_shared<PinnedMemory>();
#else
  throw InvalidArgument("pin_memory", "a build that knows torch", "one without; install torch first, then build again");
#endif
}

void add_memory(py::module_& module) {
#ifdef FASTNNUNET_WITH_TORCH
  module.attr("torch_version") = FASTNNUNET_TORCH_VERSION;
#else
  module.attr("torch_version") = py::none();
#endif
}

}  // namespace fastnnunet::bindings
