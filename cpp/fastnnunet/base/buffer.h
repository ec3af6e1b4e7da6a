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
      const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
      memory_.reset(static_cast<std::byte*>(::operator new(rounded, std::align_val_t{kAlignment})));
      bytes_ = rounded;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kPage = 4096;
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace fastnnunet
