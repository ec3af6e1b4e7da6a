#ifndef _WIN32
#include "fastnnunet/platform/system_errors.h"

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

}  // namespace
}  // namespace fastnnunet::platform
#endif
