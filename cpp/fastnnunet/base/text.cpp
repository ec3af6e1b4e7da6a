#include "fastnnunet/base/text.h"

namespace fastnnunet {

std::string text(const Index3& shape) {
  std::string list = "(";
  for (int axis = 0; axis < 3; ++axis) list.append(axis == 0 ? "" : ", ").append(std::to_string(shape[axis]));
  return list + ")";
}

}  // namespace fastnnunet
