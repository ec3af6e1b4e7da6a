#include "fastnnunet/platform/control_groups.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

namespace fastnnunet::platform {

namespace {

// The first number in a file; absent for "max", for a negative one and for a file that is not there.
std::optional<std::uint64_t> number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::int64_t value = 0;
  if (!(in >> value) || value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

// `key` in a file of "key value" lines.
std::optional<std::uint64_t> number_of(const std::filesystem::path& file, const std::string& key) {
  std::ifstream in(file);
  std::string name;
  std::string value;
  while (in >> name >> value) {
    if (name != key) continue;
    std::istringstream text(value);
    std::uint64_t number = 0;
    if (text >> number) return number;
    return std::nullopt;
  }
  return std::nullopt;
}

template <typename T>
void lower(std::optional<T>& least, T value) {
  if (!least || value < *least) least = value;
}

// Page cache can be taken back at need and so does not count as used.
void add_memory(ControlGroups& groups, std::optional<std::uint64_t> limit, std::optional<std::uint64_t> used,
                std::optional<std::uint64_t> cache) {
  // Version 1 writes "no limit" as a number near 2^63.
  if (!limit || *limit >= (std::uint64_t{1} << 60)) return;
  lower(groups.memory_limit, *limit);
  if (!used) return;
  const std::uint64_t taken = *used - std::min(*used, cache.value_or(0));
  lower(groups.memory_available, *limit - std::min(*limit, taken));
}

void add_cores(ControlGroups& groups, std::optional<std::uint64_t> quota, std::optional<std::uint64_t> period) {
  if (!quota || !period || *quota == 0 || *period == 0) return;
  lower(groups.cores, static_cast<double>(*quota) / static_cast<double>(*period));
}

void add_version_1(ControlGroups& groups, const std::filesystem::path& folder, bool with_memory, bool with_cores) {
  if (with_memory) {
    add_memory(groups, number_in(folder / "memory.limit_in_bytes"), number_in(folder / "memory.usage_in_bytes"),
               number_of(folder / "memory.stat", "total_inactive_file"));
  }
  if (with_cores) {
    add_cores(groups, number_in(folder / "cpu.cfs_quota_us"), number_in(folder / "cpu.cfs_period_us"));
  }
}

void add_version_2(ControlGroups& groups, const std::filesystem::path& folder) {
  // Beyond memory.high a group is slowed down until it has given back: for us that is no more to be had.
  for (const char* limit : {"memory.max", "memory.high"}) {
    add_memory(groups, number_in(folder / limit), number_in(folder / "memory.current"),
               number_of(folder / "memory.stat", "inactive_file"));
  }
  std::ifstream in(folder / "cpu.max");
  std::uint64_t quota = 0;
  std::uint64_t period = 0;
  if (in >> quota >> period) add_cores(groups, quota, period);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& parts, const std::string& part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

}  // namespace

ControlGroups control_groups(const std::filesystem::path& root) {
  ControlGroups groups;
  // "5:cpu,cpuacct:/a/b" for version 1, "0::/a/b" for version 2
  struct Membership {
    std::vector<std::string> controllers;
    std::string path;
  };
  std::vector<Membership> memberships;
  std::ifstream own(root / "proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    memberships.push_back({split(line.substr(first + 1, second - first - 1), ','), line.substr(second + 1)});
  }

  // "32 31 0:29 ROOT MOUNTPOINT options ... - cgroup cgroup rw,memory". ROOT is the group that the mount shows, which
  // in a container may be the container's own.
  std::ifstream mounts(root / "proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 4) continue;
    const std::string& type = dash[1];
    if (type != "cgroup" && type != "cgroup2") continue;
    const std::vector<std::string> options = split(dash[3], ',');
    const bool version_2 = type == "cgroup2";
    const bool with_memory = version_2 || contains(options, "memory");
    const bool with_cores = version_2 || contains(options, "cpu");
    if (!with_memory && !with_cores) continue;

    for (const Membership& membership : memberships) {
      const bool matches = version_2 ? membership.controllers.empty()
                                     : (with_memory && contains(membership.controllers, "memory")) ||
                                           (with_cores && contains(membership.controllers, "cpu"));
      if (!matches) continue;
      std::string inside = membership.path;
      const std::string& shown = fields[3];
      if (shown != "/" && inside.compare(0, shown.size(), shown) == 0) inside.erase(0, shown.size());
      const std::filesystem::path mount = root / std::filesystem::path(fields[4]).relative_path();
      std::filesystem::path folder = mount / std::filesystem::path(inside).relative_path();
      // A path that this mount does not show (a namespace's view of it) leaves the mount itself.
      std::error_code ignored;
      if (!std::filesystem::is_directory(folder, ignored)) folder = mount;
      // A group is held by every limit above it.
      for (;;) {
        if (version_2) {
          add_version_2(groups, folder);
        } else {
          add_version_1(groups, folder, with_memory, with_cores);
        }
        if (folder == mount || !folder.has_relative_path() || folder == folder.parent_path()) break;
        folder = folder.parent_path();
      }
    }
  }
  return groups;
}

int cores_within(const ControlGroups& groups, int cores) {
  if (groups.cores) cores = std::min(cores, static_cast<int>(std::ceil(std::min(*groups.cores, 1e6))));
  return std::max(cores, 1);
}

Memory memory_within(const ControlGroups& groups, Memory memory) {
  if (groups.memory_limit) memory.limit = std::min(memory.limit, *groups.memory_limit);
  memory.available = std::min(memory.available, groups.memory_available.value_or(memory.limit));
  return memory;
}

}  // namespace fastnnunet::platform
