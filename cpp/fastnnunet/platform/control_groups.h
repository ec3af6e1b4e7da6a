// Limits that Linux sets for groups of processes, as containers are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace fastnnunet::platform {

// What Linux' control groups, version 1 or 2 or both, allow this process: the least over all groups that it is in.
// Absent where nothing is limited. `root` stands for "/" in tests.
struct ControlGroups {
  std::optional<std::uint64_t> memory_limit;
  std::optional<std::uint64_t> memory_available;
  std::optional<double> cores;
};
ControlGroups control_groups(const std::filesystem::path& root = "/");

}  // namespace fastnnunet::platform
