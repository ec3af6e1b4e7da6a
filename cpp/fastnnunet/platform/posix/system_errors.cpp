#include "fastnnunet/platform/system_errors.h"

#include <cerrno>

namespace fastnnunet::platform {

bool is_limit(int code) { return code == EMFILE || code == ENFILE || code == ENOMEM; }

Passing passing(int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      return Passing::if_it_was_there;
    case EIO:
    case EAGAIN:
    case ESTALE:
    case ETIMEDOUT:
    case ENOTCONN:  // FUSE, whose server is gone
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ESHUTDOWN:  // Lustre, whose server has let go of this client
    case EBUSY:
#ifdef EREMOTEIO
    case EREMOTEIO:
#endif
      return Passing::yes;
    default:
      return Passing::no;
  }
}

bool is_limit_errno(int number) { return is_limit(number); }

Passing passing_errno(int number) { return passing(number); }

}  // namespace fastnnunet::platform
