#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif
#ifdef __APPLE__
#include <mach/mach.h>
#endif

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "fastnnunet/platform/control_groups.h"
#include "fastnnunet/platform/machine.h"

namespace fastnnunet::platform {

namespace {

int cores_by_affinity() {
#ifdef __linux__
  // The kernel refuses a set smaller than its own, whose size it does not tell.
  for (int processors = 1024; processors <= (1 << 20); processors *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(processors));
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(processors));
    const int cores = ::sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (cores > 0) return cores;
  }
#endif
  return static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u));
}

}  // namespace

int available_cores() { return cores_within(control_groups(), cores_by_affinity()); }

std::uint64_t open_file_limit() {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  return limit.rlim_cur == RLIM_INFINITY ? std::uint64_t{1} << 24 : static_cast<std::uint64_t>(limit.rlim_cur);
}

Memory memory() {
  Memory memory;
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) memory.limit = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  memory.available = memory.limit;
#ifdef __linux__
  // In KiB, as "MemAvailable:   1234 kB".
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream text(line);
    std::string key;
    std::uint64_t kib = 0;
    if (text >> key >> kib && key == "MemAvailable:") memory.available = std::min(memory.limit, kib * 1024);
  }
  return memory_within(control_groups(), memory);
#else
  return memory;
#endif
}

std::uint64_t resident_memory() {
#ifdef __APPLE__
  mach_task_basic_info info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const auto result = task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info), &count);
  return result == KERN_SUCCESS ? info.resident_size : 0;
#else
  // Pages: all of the address space, then what is resident.
  std::ifstream in("/proc/self/statm");
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  const long page = ::sysconf(_SC_PAGESIZE);
  return in >> pages >> resident && page > 0 ? resident * static_cast<std::uint64_t>(page) : 0;
#endif
}

}  // namespace fastnnunet::platform
