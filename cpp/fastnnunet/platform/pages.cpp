#include "fastnnunet/platform/pages.h"

#include <algorithm>
#include <atomic>
#include <new>

#include "fastnnunet/platform/system_pages.h"

namespace fastnnunet::platform {

namespace {

std::atomic<std::uint64_t> requests{0};

}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FASTNNUNET_ADDRESS_SANITIZER
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(FASTNNUNET_ADDRESS_SANITIZER)
// So that reading or writing beyond its end is seen.
void* take_pages(std::size_t bytes) {
  ++requests;
  return ::operator new(bytes, std::align_val_t{4096});
}
void give_pages(void* memory, std::size_t) noexcept { ::operator delete(memory, std::align_val_t{4096}); }
#else
void* take_pages(std::size_t bytes) {
  ++requests;
  void* memory = system_pages(std::max<std::size_t>(bytes, 1));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void give_pages(void* memory, std::size_t bytes) noexcept {
  release_system_pages(memory, std::max<std::size_t>(bytes, 1));
}
#endif
std::uint64_t page_requests() { return requests; }

}  // namespace fastnnunet::platform
