#include "fastnnunet/platform/system_errors.h"

#include <system_error>

namespace fastnnunet::platform {

void throw_system_error(const std::string& name, const std::string& what, int code) {
  const std::string reason = what + ": " + std::system_category().message(code);
  if (is_limit(code)) throw ResourceError(name, reason);
  throw StorageError(name, reason, passing(code));
}

}  // namespace fastnnunet::platform
