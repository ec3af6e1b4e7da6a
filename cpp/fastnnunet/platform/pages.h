// Memory straight from the system.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnnunet::platform {

// Memory of whole pages straight from the system, to which they go back when they are given back; an allocator keeps
// what was freed, for each thread. A page that is never touched takes no memory. Throws std::bad_alloc.
void* take_pages(std::size_t bytes);
void give_pages(void* memory, std::size_t bytes) noexcept;
// How often this process has asked so far.
std::uint64_t page_requests();

}  // namespace fastnnunet::platform
