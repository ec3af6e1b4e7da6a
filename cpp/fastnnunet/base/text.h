// Numbers in messages.
#pragma once

#include <string>

#include "fastnnunet/base/box.h"

namespace fastnnunet {

// "(1, 2, 3)".
std::string text(const Index3& shape);

}  // namespace fastnnunet
