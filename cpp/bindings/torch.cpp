// Memory of torch's own allocators, through the stable ABI, which torch has since 2.10.
#include <pybind11/pybind11.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

#include "fastnnunet/base/mutex.h"
#include "torch_memory.h"

namespace fastnnunet::bindings {
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
    const base::MutexLock lock(mutex_);
    tensors_.emplace(memory, std::move(tensor));
    return memory;
  }

  // The tensor is destroyed when the lock is not held any more: that may ask for Python's lock, or for this one.
  void remove(void* memory) {
    std::unordered_map<void*, torch::stable::Tensor>::node_type removed;
    const base::MutexLock lock(mutex_);
    removed = tensors_.extract(memory);
  }

  torch::stable::Tensor at(std::int64_t address) const {
    const base::MutexLock lock(mutex_);
    const auto found = tensors_.find(reinterpret_cast<void*>(address));
    if (found == tensors_.end())
      throw std::invalid_argument("[block] expected the address of a batch's memory, got another");
    return found->second;
  }

 private:
  mutable base::Mutex mutex_;
  std::unordered_map<void*, torch::stable::Tensor> tensors_ FASTNNUNET_GUARDED_BY(mutex_);
};

// Each block is a tensor of its own, and Python gets views of that very tensor: so torch's allocator knows the block in
// every copy that is made from it, also from a part of it, and does not give it out again before they are done.
void* allocate(std::size_t bytes, bool pinned, const char** error) {
  thread_local std::string reason;
  try {
    const std::int64_t size = static_cast<std::int64_t>(bytes);
    return Blocks::instance().add(torch::stable::empty({&size, 1}, torch::headeronly::ScalarType::Byte, std::nullopt,
                                                       torch::stable::Device(torch::headeronly::DeviceType::CPU, -1),
                                                       pinned));
  } catch (const std::exception& failure) {
    reason = failure.what();
  }
  *error = reason.c_str();
  return nullptr;
}

void release(void* memory) { Blocks::instance().remove(memory); }

torch::stable::Tensor block(std::int64_t address) { return Blocks::instance().at(address); }

}  // namespace

STABLE_TORCH_LIBRARY(fastnnunet_loader, library) { library.def("block(int address) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(fastnnunet_loader, CompositeExplicitAutograd, library) {
  library.impl("block", TORCH_BOX(&block));
}

PYBIND11_MODULE(_torch, module, pybind11::mod_gil_not_used()) {
  static const TorchMemoryTable table{allocate, release};
  module.attr("built_against") = FASTNNUNET_TORCH_VERSION;
  module.attr("memory") = pybind11::capsule(&table, kTorchMemory);
}

}  // namespace fastnnunet::bindings
