// What the numbers of the system's errors mean for a file.
#pragma once

#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::platform {

// Whether an error with this number says that the process has reached a limit, and the file is as good as it was.
bool is_limit(int code);

// Whether an error with this number of the system's (errno; GetLastError on Windows) may be over after a while.
Passing passing(int code);

// The same for errno, which on Windows is the C library's or a socket's.
bool is_limit_errno(int number);
Passing passing_errno(int number);

// Throws ResourceError for a limit, else StorageError of the file `name`, with the system's own words.
[[noreturn]] void throw_system_error(const std::string& name, const std::string& what, int code);

}  // namespace fastnnunet::platform
