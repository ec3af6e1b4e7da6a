// What of the machine this process may use.
#pragma once

#include <cstdint>

namespace fastnnunet::platform {

// Cores that this process may use: affinity and control groups, whichever is less. At least 1.
int available_cores();

// Files that this process may hold open at once.
std::uint64_t open_file_limit();

// Bytes. The limit is the machine's memory or a smaller one set for this process by a control group or a job; available
// is what of it can still be taken without anything being killed or swapped.
struct Memory {
  std::uint64_t limit = 0;
  std::uint64_t available = 0;
};
Memory memory();

// Bytes of memory that this process has in use now (resident); 0 where the system does not tell.
std::uint64_t resident_memory();

}  // namespace fastnnunet::platform
