// Numbers and text in messages.
#pragma once

#include <string>
#include <string_view>

#include "fastnnunet/base/box.h"

namespace fastnnunet::base {

// "(1, 2, 3)".
std::string text(const Index3& shape);

// Text of others as UTF-8: where it is none, its bytes beyond ASCII become question marks.
std::string printable(std::string_view text);

}  // namespace fastnnunet::base
