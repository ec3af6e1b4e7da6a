#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include "fastnnunet/platform/system_errors.h"

#include <windows.h>

#include <cerrno>

namespace fastnnunet::platform {

bool is_limit(int code) {
  return code == ERROR_TOO_MANY_OPEN_FILES || code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_OUTOFMEMORY ||
         code == ERROR_COMMITMENT_LIMIT;
}

Passing passing(int code) {
  switch (code) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_DELETE_PENDING:
      return Passing::if_it_was_there;
    case ERROR_IO_DEVICE:
    case ERROR_NOT_READY:
    case ERROR_SEM_TIMEOUT:
    case ERROR_TIMEOUT:
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
    case ERROR_REM_NOT_LIST:
    case ERROR_BAD_NET_RESP:
    case ERROR_REQ_NOT_ACCEP:
    case ERROR_VC_DISCONNECTED:
    case ERROR_CONNECTION_UNAVAIL:
    case ERROR_NO_NETWORK:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
    case ERROR_NETWORK_BUSY:
    case ERROR_DEV_NOT_EXIST:
    case ERROR_UNEXP_NET_ERR:
    case ERROR_NETNAME_DELETED:
    case ERROR_NETWORK_UNREACHABLE:
    case ERROR_HOST_UNREACHABLE:
    case ERROR_HOST_DOWN:
    case ERROR_CONNECTION_ABORTED:
      return Passing::yes;
    default:
      return Passing::no;
  }
}

bool is_limit_errno(int number) { return number == EMFILE || number == ENFILE || number == ENOMEM; }

Passing passing_errno(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return Passing::if_it_was_there;
    case EIO:
    case EAGAIN:
    case EBUSY:
    // Of sockets: Python's errno has these under the names that POSIX has.
    case WSAESTALE:
    case WSAETIMEDOUT:
    case WSAENOTCONN:
    case WSAEHOSTDOWN:
    case WSAEHOSTUNREACH:
    case WSAENETDOWN:
    case WSAENETUNREACH:
    case WSAECONNREFUSED:
    case WSAECONNRESET:
    case WSAECONNABORTED:
    case WSAESHUTDOWN:
      return Passing::yes;
    default:
      return Passing::no;
  }
}

}  // namespace fastnnunet::platform
