#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include "fastnnunet/platform/process.h"

#include <windows.h>

namespace fastnnunet::platform {

std::uint64_t process_id() { return GetCurrentProcessId(); }

std::uint64_t thread_id() { return GetCurrentThreadId(); }

}  // namespace fastnnunet::platform
