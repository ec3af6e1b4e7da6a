#include "fastnnunet/platform/system_errors.h"

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#endif

#include <cerrno>
#include <string>
#include <system_error>

#include "catch.h"

namespace fastnnunet::platform {
namespace {

Passing passing_of(int code) {
  try {
    throw_system_error("file", "cannot be read", code);
  } catch (const ResourceError&) {
    FAIL("a limit");
  } catch (const StorageError& error) {
    CHECK(error.file() == "file");
    CHECK(error.reason() == "cannot be read: " + std::system_category().message(code));
    return error.passing();
  }
  return Passing::no;
}

#ifdef _WIN32

TEST_CASE("platform: which of the system's errors may pass") {
  // What a share gives while its server is away, and a file that another program, such as a virus scanner, holds.
  for (const int code :
       {ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, ERROR_BAD_NETPATH, ERROR_NETNAME_DELETED, ERROR_NETWORK_BUSY,
        ERROR_SEM_TIMEOUT, ERROR_NO_NETWORK, ERROR_CONNECTION_UNAVAIL, ERROR_IO_DEVICE}) {
    CAPTURE(code);
    CHECK(passing_of(code) == Passing::yes);
  }
  for (const int code : {ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, ERROR_DELETE_PENDING}) {
    CHECK(passing_of(code) == Passing::if_it_was_there);
  }
  for (const int code : {ERROR_ACCESS_DENIED, ERROR_INVALID_NAME, ERROR_INVALID_HANDLE}) {
    CAPTURE(code);
    CHECK(passing_of(code) == Passing::no);
  }
}

TEST_CASE("platform: a limit of the process is not the file's fault") {
  for (const int code : {ERROR_TOO_MANY_OPEN_FILES, ERROR_NOT_ENOUGH_MEMORY, ERROR_COMMITMENT_LIMIT}) {
    CAPTURE(code);
    CHECK(is_limit(code));
    CHECK_THROWS_AS(throw_system_error("file", "cannot be opened", code), ResourceError);
  }
  for (const int code : {ERROR_IO_DEVICE, ERROR_FILE_NOT_FOUND, ERROR_ACCESS_DENIED}) CHECK_FALSE(is_limit(code));
}

#else

TEST_CASE("platform: which of the system's errors may pass") {
  // What NFS, SMB, Lustre, BeeGFS and FUSE give while their servers are away.
  for (const int code : {EIO, EAGAIN, ESTALE, ETIMEDOUT, ENOTCONN, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH,
                         ECONNREFUSED, ECONNRESET, ECONNABORTED, ESHUTDOWN, EBUSY}) {
    CAPTURE(code);
    CHECK(passing_of(code) == Passing::yes);
  }
#ifdef EREMOTEIO
  CHECK(passing_of(EREMOTEIO) == Passing::yes);
#endif
  for (const int code : {ENOENT, ENOTDIR}) CHECK(passing_of(code) == Passing::if_it_was_there);
  for (const int code : {EACCES, EPERM, EISDIR, ELOOP, ENAMETOOLONG, EINVAL, EBADF}) {
    CAPTURE(code);
    CHECK(passing_of(code) == Passing::no);
  }
}

TEST_CASE("platform: a limit of the process is not the file's fault") {
  for (const int code : {EMFILE, ENFILE, ENOMEM}) {
    CAPTURE(code);
    CHECK(is_limit(code));
    CHECK_THROWS_AS(throw_system_error("file", "cannot be opened", code), ResourceError);
  }
  for (const int code : {EIO, ENOENT, EACCES}) CHECK_FALSE(is_limit(code));
}

#endif

TEST_CASE("platform: which numbers of the C library may pass") {
  for (const int number : {EIO, EAGAIN, EBUSY}) CHECK(passing_errno(number) == Passing::yes);
  for (const int number : {ENOENT, ENOTDIR}) CHECK(passing_errno(number) == Passing::if_it_was_there);
  for (const int number : {EACCES, EPERM, EINVAL, ENOMEM}) CHECK(passing_errno(number) == Passing::no);
  for (const int number : {EMFILE, ENFILE, ENOMEM}) CHECK(is_limit_errno(number));
  for (const int number : {EIO, ENOENT, EACCES}) CHECK_FALSE(is_limit_errno(number));
}

}  // namespace
}  // namespace fastnnunet::platform
