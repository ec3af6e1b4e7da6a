#include "fastnnunet/base/text.h"

#include <algorithm>
#include <cstddef>

namespace fastnnunet::base {
namespace {

// How many bytes the character takes that begins with `lead`; 0 where none does.
std::size_t character_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  return lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    const std::size_t count = character_bytes(byte(0));
    if (count == 0 || count > text.size() - at) return false;
    for (std::size_t i = 1; i < count; ++i)
      if ((byte(i) & 0xC0) != 0x80) return false;
    // Longer than needed, half of a surrogate pair, or beyond the last character.
    if ((byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) >= 0xA0) ||
        (byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) >= 0x90))
      return false;
    at += count;
  }
  return true;
}

}  // namespace

std::string text(const Index3& shape) {
  std::string list = "(";
  for (int axis = 0; axis < 3; ++axis) list.append(axis == 0 ? "" : ", ").append(std::to_string(shape[axis]));
  return list + ")";
}

std::string printable(std::string_view text) {
  std::string copy(text);
  if (!is_utf8(text))
    std::replace_if(copy.begin(), copy.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return copy;
}

}  // namespace fastnnunet::base
