// Memory of whole pages that grows and never shrinks: what one thread works in, sample after sample.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "fastnnunet/platform/pages.h"

namespace fastnnunet::platform {

class Buffer {
 public:
  // At least `count` values; the content is lost when it has to grow, or when somebody else holds a lease: what they
  // see is not written again. The pointer holds until the next call.
  template <typename T>
  T* reserve(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes > bytes_ || (bytes > 0 && leased())) {
      memory_.reset();
      bytes_ = 0;
      const std::size_t whole = rounded(bytes);
      memory_ = {static_cast<std::byte*>(take_pages(whole)), [whole](std::byte* pages) { give_pages(pages, whole); }};
      bytes_ = whole;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

  std::size_t bytes() const { return bytes_; }
  const void* address() const { return memory_.get(); }
  // Keeps the memory for as long as it is held.
  std::shared_ptr<void> lease() const { return memory_; }
  // What `bytes` take in a buffer: whole pages.
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

 private:
  static constexpr std::size_t kPage = 4096;

  // The count of references is read without an order of its own. Whoever gave a lease back has read before that, and
  // the fence makes these reads come before what is written next.
  bool leased() const {
    if (memory_.use_count() > 1) return true;
    std::atomic_thread_fence(std::memory_order_acquire);
    return false;
  }

  std::shared_ptr<std::byte> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace fastnnunet::platform
