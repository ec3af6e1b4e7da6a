// Memory of torch's own allocators, through the stable ABI.
#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"

#ifdef FASTNNUNET_WITH_TORCH
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <bit>
#include <unordered_map>
#endif

namespace fastnnunet::bindings {
#ifdef FASTNNUNET_WITH_TORCH
namespace {

// All blocks that batches have from torch, by address.
class Blocks {
 public:
  static Blocks& instance() {
    static Blocks blocks;
    return blocks;
  }

  void* add(torch::stable::Tensor tensor) {
    void* memory = tensor.mutable_data_ptr();
    const MutexLock lock(mutex_);
    tensors_.emplace(memory, std::move(tensor));
    return memory;
  }

  // The tensor is destroyed when the lock is not held any more: that may ask for Python's lock, or for this one.
  void remove(void* memory) {
    std::unordered_map<void*, torch::stable::Tensor>::node_type removed;
    const MutexLock lock(mutex_);
    removed = tensors_.extract(memory);
  }

  torch::stable::Tensor at(std::int64_t address) const {
    const MutexLock lock(mutex_);
    const auto found = tensors_.find(reinterpret_cast<void*>(address));
    if (found == tensors_.end()) throw InvalidArgument("block", "the address of a batch's memory", "another");
    return found->second;
  }

 private:
  mutable Mutex mutex_;
  std::unordered_map<void*, torch::stable::Tensor> tensors_ FASTNNUNET_GUARDED_BY(mutex_);
};

// Each block is a tensor of its own, and Python gets views of that very tensor: so torch's allocator knows the block in
// every copy that is made from it, also from a part of it, and does not give it out again before they are done.
class TorchMemory final : public MemoryProvider {
 public:
  explicit TorchMemory(bool pinned) : pinned_(pinned) {}

  void* allocate(std::size_t bytes) override {
    const std::int64_t size = static_cast<std::int64_t>(bytes);
    return Blocks::instance().add(torch::stable::empty({&size, 1}, torch::headeronly::ScalarType::Byte, std::nullopt,
                                                       torch::stable::Device(torch::headeronly::DeviceType::CPU, -1),
                                                       pinned_));
  }

  void release(void* memory, std::size_t) noexcept override { Blocks::instance().remove(memory); }

  // torch's allocator of pinned memory gives out powers of two.
  std::size_t taken(std::size_t bytes) const override { return pinned_ ? std::bit_ceil(bytes) : bytes; }

  bool rewritable() const override { return false; }

 private:
  bool pinned_;
};

torch::stable::Tensor block(std::int64_t address) { return Blocks::instance().at(address); }

}  // namespace

STABLE_TORCH_LIBRARY(fastnnunet_loader, library) { library.def("block(int address) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(fastnnunet_loader, CompositeExplicitAutograd, library) {
  library.impl("block", TORCH_BOX(&block));
}
#endif

std::shared_ptr<MemoryProvider> make_memory(const std::string& kind) {
  if (kind == "ordinary") return std::make_shared<OrdinaryMemory>();
  if (kind != "pinned" && kind != "torch") throw InvalidArgument("memory", "'ordinary', 'pinned' or 'torch'", kind);
#ifdef FASTNNUNET_WITH_TORCH
  return std::make_shared<TorchMemory>(kind == "pinned");
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
