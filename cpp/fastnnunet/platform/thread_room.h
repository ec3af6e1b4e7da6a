// Memory of the calling thread for short rows, kept from call to call: what several threads that share a loop need
// beside the working memory of the one that asked them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastnnunet/platform/buffer.h"

namespace fastnnunet::platform {

// What all of thread_room() holds for the calling thread, in bytes.
inline std::size_t& thread_room_bytes() {
  static thread_local std::size_t bytes = 0;
  return bytes;
}

// `number` keeps several of a type live at once. Begins with a cache line; what the values are is left open. Transforms
// say how much of it they take (Transform::room_bytes).
template <typename T, int number = 0>
T* thread_room(std::int64_t count) {
  static thread_local Buffer room;
  const std::size_t before = room.bytes();
  T* const values = room.reserve<T>(static_cast<std::size_t>(count));
  if (room.bytes() != before) thread_room_bytes() += room.bytes() - before;
  return values;
}

// What `count` values take there.
template <typename T>
std::size_t room_of(std::int64_t count) {
  return Buffer::rounded(static_cast<std::size_t>(count) * sizeof(T));
}

}  // namespace fastnnunet::platform
