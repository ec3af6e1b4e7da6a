#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include "fastnnunet/platform/system_pages.h"

namespace fastnnunet::platform {

void* system_pages(std::size_t bytes) { return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }

void release_system_pages(void* memory, std::size_t) noexcept { VirtualFree(memory, 0, MEM_RELEASE); }

}  // namespace fastnnunet::platform
