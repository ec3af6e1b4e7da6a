// One batch, and where its memory comes from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fastnnunet/base/api.h"
#include "fastnnunet/pipeline/layout.h"

namespace fastnnunet {

namespace sample {
struct Destination;
}

class FASTNNUNET_API MemoryProvider {
 public:
  virtual ~MemoryProvider() = default;
  // 64-byte aligned. May throw; called from any thread.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory, std::size_t bytes) noexcept = 0;
  // What a block of so many bytes takes.
  virtual std::size_t taken(std::size_t bytes) const { return bytes; }
  // False where something outside of this process' threads may still read memory that no tensor refers to.
  virtual bool rewritable() const = 0;
};

// Aligned memory of the process.
class FASTNNUNET_API OrdinaryMemory final : public MemoryProvider {
 public:
  void* allocate(std::size_t bytes) override;
  void release(void* memory, std::size_t bytes) noexcept override;
  bool rewritable() const override { return true; }
};

// One batch: data (B, C, X, Y, Z) float32, each target (B, R, X, Y, Z) in the type of its layout, and the regression
// target (B, C', X, Y, Z) float32, null where there is none. Every tensor is a block of its own, which is what torch's
// pinned allocator recognises.
struct BatchMemory {
  float* data = nullptr;
  float* regression = nullptr;
  std::vector<void*> targets;
  std::vector<std::size_t> cases;  // one for each sample

  // Where a sample of the batch goes. `destination` is filled again for every sample.
  void locate(const Layout& layout, std::int64_t slot, sample::Destination& destination) const;
};

// The memory is written again when the last copy of `memory` is gone, and not before.
struct Batch {
  std::shared_ptr<BatchMemory> memory;
  std::uint64_t step = 0;
  const std::vector<std::size_t>& cases() const { return memory->cases; }  // one for each sample
};

}  // namespace fastnnunet
