// The buffers of batches, and the one rule about them: memory is written again only when nobody can read it any more.
//
// A batch is handed out as a reference. Every tensor made from it holds one; when the last is gone the memory comes
// back. Whether it may then be written depends on where it comes from:
//  - ordinary memory: at once. A copy to another device from it is done when the call returns.
//  - pinned memory: never by the ring. A copy may still run on the device, and only the allocator that torch asks knows
//    (it was told of the copy, and makes its own events when the block is freed). The ring gives the block back and
//    asks for another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/engine/batch.h"
#include "fastnnunet/pipeline/layout.h"

namespace fastnnunet::engine {

class BatchRing : public std::enable_shared_from_this<BatchRing> {
 public:
  // `limit` bounds the bytes of all batches that exist, those in tensors included.
  static std::shared_ptr<BatchRing> make(const Layout& layout, std::int64_t batch_size, std::size_t limit,
                                         std::shared_ptr<MemoryProvider> provider);
  ~BatchRing();

  // A batch that nobody reads. Null where the limit is reached.
  std::shared_ptr<BatchMemory> acquire();
  // From now on memory goes back to the provider when its last tensor is gone.
  void close();

  std::size_t batch_bytes() const { return batch_bytes_; }
  std::size_t in_use() const;  // batches handed out and not yet back

 private:
  template <typename T>
  class CountAllocator;

  BatchRing(const Layout& layout, std::int64_t batch_size, std::size_t limit, std::shared_ptr<MemoryProvider> provider);
  void fill(BatchMemory& memory);
  void give_back(BatchMemory* memory) noexcept;
  // Memory in which the references to a batch are counted, the same again and again.
  void* take_count(std::size_t bytes);
  void give_count(void* count) noexcept;
  void release(BatchMemory& memory) noexcept;

  std::shared_ptr<MemoryProvider> provider_;
  std::size_t data_bytes_;
  std::size_t regression_bytes_;
  std::vector<std::size_t> target_bytes_;
  std::size_t batch_bytes_;
  std::size_t limit_;
  std::uint64_t process_;
  std::size_t samples_;
  mutable base::Mutex mutex_;
  // With memory where it may be written again.
  std::vector<std::unique_ptr<BatchMemory>> free_ FASTNNUNET_GUARDED_BY(mutex_);
  std::vector<void*> free_counts_ FASTNNUNET_GUARDED_BY(mutex_);
  std::size_t in_use_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  bool closed_ FASTNNUNET_GUARDED_BY(mutex_) = false;
};

}  // namespace fastnnunet::engine
