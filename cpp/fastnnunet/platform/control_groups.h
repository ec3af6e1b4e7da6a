// Limits that Linux sets for groups of processes, as containers are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "fastnnunet/platform/machine.h"

namespace fastnnunet::platform {

// What Linux' control groups, version 1 or 2 or both, allow this process: the least over all groups that it is in.
// Absent where nothing is limited. `root` stands for "/" in tests.
struct ControlGroups {
  std::optional<std::uint64_t> memory_limit;
  std::optional<std::uint64_t> memory_available;
  std::optional<double> cores;
};
ControlGroups control_groups(const std::filesystem::path& root = "/");

// What they leave of the machine's cores, at least one, and of its memory. A part of a core is one.
int cores_within(const ControlGroups& groups, int cores);
Memory memory_within(const ControlGroups& groups, Memory memory);

}  // namespace fastnnunet::platform
