// What an action throws, as text.
#pragma once

#include <exception>
#include <string>

namespace fastnnunet::testing {

template <typename Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace fastnnunet::testing
