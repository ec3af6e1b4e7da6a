#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#ifdef __APPLE__
#include <pthread.h>
#endif

#include "fastnnunet/platform/process.h"

namespace fastnnunet::platform {

std::uint64_t process_id() { return static_cast<std::uint64_t>(::getpid()); }

std::uint64_t thread_id() {
#ifdef __APPLE__
  std::uint64_t number = 0;
  ::pthread_threadid_np(nullptr, &number);
  return number;
#elif defined(__linux__)
  return static_cast<std::uint64_t>(::syscall(SYS_gettid));
#else
  return 0;
#endif
}

}  // namespace fastnnunet::platform
