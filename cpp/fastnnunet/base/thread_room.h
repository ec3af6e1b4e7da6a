// Memory of the calling thread for short rows, kept from call to call: what several threads that share a loop need
// beside the working memory of the one that asked them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastnnunet/base/buffer.h"

namespace fastnnunet {

// `number` keeps several of a type live at once. Begins with a cache line; what the values are is left open.
template <typename T, int number = 0>
T* thread_room(std::int64_t count) {
  static thread_local Buffer room;
  return room.reserve<T>(static_cast<std::size_t>(count));
}

}  // namespace fastnnunet
