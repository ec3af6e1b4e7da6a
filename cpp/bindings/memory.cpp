// The memory that batches are in.
#include <bit>
#include <stdexcept>

#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "torch_memory.h"

namespace fastnnunet::bindings {
namespace {

class TorchMemory final : public MemoryProvider {
 public:
  TorchMemory(const TorchMemoryTable& torch, bool pinned) : torch_(torch), pinned_(pinned) {}

  void* allocate(std::size_t bytes) override {
    const char* error = nullptr;
    void* memory = torch_.allocate(bytes, pinned_, &error);
    if (memory == nullptr) throw std::runtime_error(error);
    return memory;
  }

  void release(void* memory, std::size_t) noexcept override { torch_.release(memory); }

  // torch's allocator of pinned memory gives out powers of two.
  std::size_t taken(std::size_t bytes) const override { return pinned_ ? std::bit_ceil(bytes) : bytes; }

  bool rewritable() const override { return false; }

 private:
  const TorchMemoryTable& torch_;
  bool pinned_;
};

}  // namespace

std::shared_ptr<MemoryProvider> make_memory(const std::string& kind) {
  if (kind == "ordinary") return std::make_shared<OrdinaryMemory>();
  if (kind != "pinned" && kind != "torch") throw InvalidArgument("memory", "'ordinary', 'pinned' or 'torch'", kind);
  // Imported here, for it loads torch. The module stays as long as the process, and the table with it.
  const py::object capsule = py::module_::import("fastnnunet_loader._torch").attr("memory");
  const void* table = PyCapsule_GetPointer(capsule.ptr(), kTorchMemory);
  if (table == nullptr) throw py::error_already_set();
  return std::make_shared<TorchMemory>(*static_cast<const TorchMemoryTable*>(table), kind == "pinned");
}

}  // namespace fastnnunet::bindings
