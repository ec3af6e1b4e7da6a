#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include "fastnnunet/platform/process.h"

namespace fastnnunet {

std::uint64_t process_id() { return GetCurrentProcessId(); }

std::uint64_t thread_id() { return GetCurrentThreadId(); }

}  // namespace fastnnunet
