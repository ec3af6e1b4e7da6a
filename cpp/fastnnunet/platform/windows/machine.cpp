#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
// Behind it, since it takes its types.
#include <psapi.h>

#include <algorithm>
#include <cmath>

#include "fastnnunet/platform/machine.h"

namespace fastnnunet::platform {

int available_cores() {
  // A process in one processor group, the usual case, has a mask; one in several has zero for both.
  DWORD_PTR mine = 0;
  DWORD_PTR all = 0;
  int cores = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &all) && mine != 0) {
    for (; mine != 0; mine &= mine - 1) ++cores;
  } else {
    cores = static_cast<int>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  }
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate{};
  if (QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &rate, sizeof(rate), nullptr) &&
      (rate.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_ENABLE) != 0 &&
      (rate.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP) != 0 && rate.CpuRate > 0) {
    // Hundredths of a percent of the whole machine.
    const double quota = rate.CpuRate / 10000.0 * GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    cores = std::min(cores, static_cast<int>(std::ceil(quota)));
  }
  return std::max(cores, 1);
}

// The system's own limit; the C library's 512 streams do not concern handles.
std::uint64_t open_file_limit() { return std::uint64_t{1} << 24; }

Memory memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  if (!GlobalMemoryStatusEx(&status)) return {};
  Memory memory{status.ullTotalPhys, status.ullAvailPhys};
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION job{};
  if (QueryInformationJobObject(nullptr, JobObjectExtendedLimitInformation, &job, sizeof(job), nullptr)) {
    const DWORD flags = job.BasicLimitInformation.LimitFlags;
    if ((flags & JOB_OBJECT_LIMIT_PROCESS_MEMORY) != 0) {
      memory.limit = std::min<std::uint64_t>(memory.limit, job.ProcessMemoryLimit);
    }
    if ((flags & JOB_OBJECT_LIMIT_JOB_MEMORY) != 0) {
      memory.limit = std::min<std::uint64_t>(memory.limit, job.JobMemoryLimit);
    }
    memory.available = std::min(memory.available, memory.limit);
  }
  return memory;
}

std::uint64_t resident_memory() {
  PROCESS_MEMORY_COUNTERS counters{};
  return K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof(counters)) ? counters.WorkingSetSize : 0;
}

}  // namespace fastnnunet::platform
