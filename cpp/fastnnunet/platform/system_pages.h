// What take_pages() and give_pages() ask the system for, without counting.
#pragma once

#include <cstddef>

namespace fastnnunet::platform {

// Null where there is no memory.
void* system_pages(std::size_t bytes);
void release_system_pages(void* memory, std::size_t bytes) noexcept;

}  // namespace fastnnunet::platform
