// Memory of a fixed alignment that grows and never shrinks: what one thread works in, sample after sample.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace fastnnunet {

class Buffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  // At least `count` values; the content is lost when it has to grow. The pointer holds until the next call.
  template <typename T>
  T* reserve(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes > bytes_) {
      memory_.reset();
      bytes_ = 0;
      memory_.reset(static_cast<std::byte*>(::operator new(rounded(bytes), std::align_val_t{kAlignment})));
      bytes_ = rounded(bytes);
    }
    return reinterpret_cast<T*>(memory_.get());
  }

  std::size_t bytes() const { return bytes_; }
  // What `bytes` take in a buffer: whole pages.
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

 private:
  static constexpr std::size_t kPage = 4096;
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace fastnnunet
