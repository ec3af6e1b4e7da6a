// Limits of the process, for tests of what happens at them. Nothing else may run meanwhile.
#pragma once

#ifdef __linux__

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace fastnnunet::testing {

// Holds as long as the object lives. `what`: one of getrlimit's.
class Limit {
 public:
  Limit(__rlimit_resource_t what, rlim_t value) : what_(what) {
    ::getrlimit(what_, &before_);
    rlimit limit = before_;
    limit.rlim_cur = value;
    ::setrlimit(what_, &limit);
  }
  ~Limit() { ::setrlimit(what_, &before_); }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  __rlimit_resource_t what_;
  rlimit before_;
};

// Of address space, in bytes.
inline std::uint64_t address_space_used() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t pages = 0;
  in >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// The lowest number that a file would get: as many are open, or some of the lower ones are free.
inline rlim_t next_file() {
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(file);
  return static_cast<rlim_t>(file);
}

}  // namespace fastnnunet::testing

#endif
