// Numbers of this process and its threads.
#pragma once

#include <cstdint>

namespace fastnnunet::platform {

std::uint64_t process_id();

// The number by which the system, and Python's threading.get_native_id(), know the calling thread.
std::uint64_t thread_id();

}  // namespace fastnnunet::platform
