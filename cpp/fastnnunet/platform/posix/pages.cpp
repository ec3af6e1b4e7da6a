#include <sys/mman.h>

#include "fastnnunet/platform/system_pages.h"

namespace fastnnunet::platform {

void* system_pages(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#if defined(MADV_HUGEPAGE)
  // Of volumes, images and batches: a turned row touches more pages than the processor keeps addresses of. Where the
  // system has none, ordinary ones do.
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  if (memory != MAP_FAILED && bytes >= 2 * kHuge) (void)::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory == MAP_FAILED ? nullptr : memory;
}

void release_system_pages(void* memory, std::size_t bytes) noexcept { ::munmap(memory, bytes); }

}  // namespace fastnnunet::platform
