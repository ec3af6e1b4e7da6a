#ifdef __linux__
#include "fastnnunet/platform/control_groups.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.h"
#include "platform/folder.h"

namespace fastnnunet::platform {
namespace {

using testing::Folder;

TEST_CASE("platform: no control group limits anything") {
  const Folder folder;
  const ControlGroups groups = control_groups(folder.path());
  CHECK(!groups.memory_limit);
  CHECK(!groups.memory_available);
  CHECK(!groups.cores);
}

TEST_CASE("platform: control groups of version 2, the least of all levels") {
  const Folder folder;
  folder.write("proc/self/cgroup", "0::/slice/pod/box\n");
  folder.write("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  folder.write("sys/fs/cgroup/slice/pod/box/memory.max", "max\n");
  folder.write("sys/fs/cgroup/slice/pod/memory.max", "1000000\n");
  folder.write("sys/fs/cgroup/slice/pod/memory.current", "700000\n");
  folder.write("sys/fs/cgroup/slice/pod/memory.stat", "anon 300000\ninactive_file 400000\nactive_file 5\n");
  folder.write("sys/fs/cgroup/slice/memory.max", "5000000\n");
  folder.write("sys/fs/cgroup/slice/pod/box/cpu.max", "150000 100000\n");
  folder.write("sys/fs/cgroup/slice/cpu.max", "max 100000\n");
  const ControlGroups groups = control_groups(folder.path());
  CHECK(groups.memory_limit == 1000000u);
  CHECK(groups.memory_available == 700000u);
  CHECK(groups.cores == 1.5);
}

TEST_CASE("platform: a control group that is slowed down from memory.high on") {
  const Folder folder;
  folder.write("proc/self/cgroup", "0::/pod\n");
  folder.write("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  folder.write("sys/fs/cgroup/pod/memory.max", "1000000\n");
  folder.write("sys/fs/cgroup/pod/memory.high", "800000\n");
  folder.write("sys/fs/cgroup/pod/memory.current", "300000\n");
  CHECK(control_groups(folder.path()).memory_limit == 800000u);
  CHECK(control_groups(folder.path()).memory_available == 500000u);
  folder.write("sys/fs/cgroup/pod/memory.high", "max\n");
  CHECK(control_groups(folder.path()).memory_limit == 1000000u);
}

TEST_CASE("platform: control groups of version 1 beside an empty version 2") {
  const Folder folder;
  folder.write("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n");
  folder.write("proc/self/mountinfo",
               "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
               "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
               "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
  folder.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  folder.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "536870912\n");
  folder.write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "136870912\n");
  folder.write("sys/fs/cgroup/memory/job/memory.stat", "cache 7\ntotal_inactive_file 36870912\n");
  folder.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  folder.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  folder.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "200000\n");
  folder.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  const ControlGroups groups = control_groups(folder.path());
  CHECK(groups.memory_limit == 536870912u);
  CHECK(groups.memory_available == 436870912u);
  CHECK(groups.cores == 2.0);
}

TEST_CASE("platform: the least limit counts, whichever of nested control groups has it") {
  const std::vector<std::string> levels{"", "/slice", "/slice/pod", "/slice/pod/box"};
  const auto number = [](std::size_t level, std::size_t least, int small, int step) {
    // Rises away from the least one on both sides.
    return small + step * static_cast<int>(level > least ? level - least : least - level);
  };
  for (const int version : {1, 2}) {
    for (std::size_t least = version == 2 ? 1 : 0; least < levels.size(); ++least) {
      CAPTURE(version, least);
      const Folder folder;
      folder.write("proc/self/cgroup",
                   version == 2 ? "0::/slice/pod/box\n" : "4:memory:/slice/pod/box\n3:cpu:/slice/pod/box\n");
      folder.write("proc/self/mountinfo", version == 2
                                              ? "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
                                              : "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                                                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
      for (std::size_t level = version == 2 ? 1 : 0; level < levels.size(); ++level) {
        const std::string limit = std::to_string(number(level, least, 1000000, 100000)) + "\n";
        const std::string used = std::to_string(number(level, least, 400000, -1000)) + "\n";
        const std::string quota = std::to_string(number(level, least, 150000, 50000));
        if (version == 2) {
          const std::string group = "sys/fs/cgroup" + levels[level];
          folder.write(group + "/memory.max", limit);
          folder.write(group + "/memory.current", used);
          folder.write(group + "/cpu.max", quota + " 100000\n");
        } else {
          folder.write("sys/fs/cgroup/memory" + levels[level] + "/memory.limit_in_bytes", limit);
          folder.write("sys/fs/cgroup/memory" + levels[level] + "/memory.usage_in_bytes", used);
          folder.write("sys/fs/cgroup/cpu" + levels[level] + "/cpu.cfs_quota_us", quota + "\n");
          folder.write("sys/fs/cgroup/cpu" + levels[level] + "/cpu.cfs_period_us", "100000\n");
        }
      }
      const ControlGroups groups = control_groups(folder.path());
      CHECK(groups.memory_limit == 1000000u);
      CHECK(groups.memory_available == 600000u);
      CHECK(groups.cores == 1.5);
    }
  }
}

TEST_CASE("platform: a container whose mount shows its own group as the root") {
  const Folder folder;
  folder.write("proc/self/cgroup", "4:memory:/docker/abc\n");
  folder.write("proc/self/mountinfo",
               "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n");
  folder.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  CHECK(control_groups(folder.path()).memory_limit == 1073741824u);
  // The process is in a group of this one, which has a limit of its own.
  folder.write("proc/self/cgroup", "4:memory:/docker/abc/inner\n");
  folder.write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "73741824\n");
  CHECK(control_groups(folder.path()).memory_limit == 73741824u);
}

TEST_CASE("platform: a control group that uses more than it may, or of which it is not known") {
  const Folder folder;
  folder.write("proc/self/cgroup", "0::/pod\n");
  folder.write("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  folder.write("sys/fs/cgroup/pod/memory.max", "1000000\n");
  CHECK(control_groups(folder.path()).memory_limit == 1000000u);
  CHECK_FALSE(control_groups(folder.path()).memory_available);
  // Beyond memory.high it is slowed down, and not ended.
  folder.write("sys/fs/cgroup/pod/memory.high", "800000\n");
  folder.write("sys/fs/cgroup/pod/memory.current", "900000\n");
  CHECK(control_groups(folder.path()).memory_available == 0u);
  // The two files are not of the same moment.
  folder.write("sys/fs/cgroup/pod/memory.stat", "inactive_file 900001\n");
  CHECK(control_groups(folder.path()).memory_available == 800000u);
}

TEST_CASE("platform: a quota of cores is of its period") {
  const Folder folder;
  folder.write("proc/self/cgroup", "3:cpuacct,cpu:/job\n");
  folder.write("proc/self/mountinfo",
               "20 1 8:1 / / rw - ext4 /dev/root rw\n"
               "21 20 0:5 /short\n"
               "\n"
               "22 20 0:20 / /proc rw - proc proc rw\n"
               "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n");
  folder.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "150000\n");
  folder.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "50000\n");
  CHECK(control_groups(folder.path()).cores == 3.0);
  folder.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  CHECK_FALSE(control_groups(folder.path()).cores);

  const Folder newer;
  newer.write("proc/self/cgroup", "1:name=systemd:/elsewhere\n0::/job\n");
  newer.write("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  newer.write("sys/fs/cgroup/job/cpu.max", "25000 50000\n");
  CHECK(control_groups(newer.path()).cores == 0.5);
}

TEST_CASE("platform: a control group of version 1 that has no limit, in numbers") {
  const Folder folder;
  folder.write("proc/self/cgroup", "4:memory:/\n");
  folder.write("proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  folder.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  folder.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "536870912\n");
  CHECK_FALSE(control_groups(folder.path()).memory_limit);
  CHECK_FALSE(control_groups(folder.path()).memory_available);
}

TEST_CASE("platform: what control groups leave of a machine") {
  const auto cores = [](std::optional<double> quota, int all) {
    return cores_within({std::nullopt, std::nullopt, quota}, all);
  };
  CHECK(cores(std::nullopt, 8) == 8);
  CHECK(cores(std::nullopt, 0) == 1);
  CHECK(cores(0.25, 8) == 1);
  CHECK(cores(1.0, 8) == 1);
  CHECK(cores(2.5, 8) == 3);
  CHECK(cores(2.5, 2) == 2);
  CHECK(cores(1e300, 8) == 8);

  const Memory all{.limit = 1000, .available = 600};
  const auto memory = [&](std::optional<std::uint64_t> limit, std::optional<std::uint64_t> available) {
    const Memory left = memory_within({limit, available, std::nullopt}, all);
    return std::pair(left.limit, left.available);
  };
  using Left = std::pair<std::uint64_t, std::uint64_t>;
  CHECK(memory(std::nullopt, std::nullopt) == Left{1000, 600});
  CHECK(memory(800, 700) == Left{800, 600});
  CHECK(memory(800, 500) == Left{800, 500});
  CHECK(memory(800, 0) == Left{800, 0});
  CHECK(memory(5000, 4000) == Left{1000, 600});
  // How much of it is in use is not known.
  CHECK(memory(400, std::nullopt) == Left{400, 400});
  CHECK(memory(800, std::nullopt) == Left{800, 600});
}

}  // namespace
}  // namespace fastnnunet::platform
#endif
