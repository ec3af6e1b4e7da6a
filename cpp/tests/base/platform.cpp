#include "fastnnunet/base/platform.h"

#include <fstream>
#include <thread>

#include "catch.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet {
namespace {

class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("fastnnunet-platform-" + std::to_string(process_id()) + "-" + std::to_string(++count));
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  void write(const std::filesystem::path& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

TEST_CASE("platform: this machine and this process") {
  CHECK(process_id() > 0);
  CHECK(available_cores() >= 1);
  CHECK(available_cores() <= static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u)));
  CHECK(open_file_limit() >= 64);
  const Memory now = memory();
  CHECK(now.limit > (std::uint64_t{64} << 20));
  CHECK(now.available > 0);
  CHECK(now.available <= now.limit);
}

TEST_CASE("platform: memory that this process has in use") {
  const std::uint64_t before = resident_memory();
  REQUIRE(before > 100'000);
  std::vector<char> touched(std::size_t{64} << 20, 1);
  const std::uint64_t after = resident_memory();
  CHECK(touched.back() == 1);
  CHECK(after >= before + (std::uint64_t{60} << 20));
  CHECK(after <= memory().limit);
}

TEST_CASE("platform: bytes of a file, mapped and copied") {
  const Folder folder;
  folder.write("file", "0123456789");
  std::vector<std::byte> scratch;
  for (const FileAccess access : {FileAccess::prefer_mapped, FileAccess::copied}) {
    const InputFile file(folder.path() / "file", access);
    CHECK(file.size() == 10);
    CHECK(file.mapped() == (access == FileAccess::prefer_mapped));
    CHECK(static_cast<char>(file.bytes(3, 4, scratch)[0]) == '3');
    char two[2];
    file.read(8, two, 2);
    CHECK(std::string(two, 2) == "89");
    CHECK_NOTHROW(file.bytes(10, 0, scratch));
    CHECK_THROWS_AS(file.bytes(9, 2, scratch), StorageError);
    CHECK_THROWS_AS(file.bytes(11, 0, scratch), StorageError);
    CHECK_THROWS_AS(file.read(~std::uint64_t{0}, two, 2), StorageError);
    CHECK(file.current());
  }
  CHECK_THROWS_AS(InputFile(folder.path(), FileAccess::prefer_mapped), StorageError);
  CHECK_THROWS_AS(InputFile(folder.path() / "missing", FileAccess::copied), StorageError);
  folder.write("empty", "");
  CHECK(InputFile(folder.path() / "empty", FileAccess::prefer_mapped).size() == 0);
}

#ifdef __linux__

TEST_CASE("platform: what was read of a mapped file goes out of memory and can be read again") {
  constexpr std::size_t kSize = std::size_t{32} << 20, kMost = std::size_t{8} << 20;
  const Folder folder;
  folder.write("file", std::string(kSize, 'x'));
  std::vector<std::byte> scratch;
  const InputFile file(folder.path() / "file", FileAccess::prefer_mapped);
  REQUIRE(file.mapped());
  const std::uint64_t before = resident_memory();
  file.prepare(0, kSize);
  CHECK(resident_memory() + kMost >= before + kSize);
  const std::byte* const bytes = file.bytes(kSize - 1, 1, scratch);
  file.let_go();
  CHECK(resident_memory() <= before + kMost);
  CHECK(static_cast<char>(*bytes) == 'x');
}

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

TEST_CASE("platform: a container whose mount shows its own group as the root") {
  const Folder folder;
  folder.write("proc/self/cgroup", "4:memory:/docker/abc\n");
  folder.write("proc/self/mountinfo",
               "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n");
  folder.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  CHECK(control_groups(folder.path()).memory_limit == 1073741824u);
}

#endif

}  // namespace
}  // namespace fastnnunet
