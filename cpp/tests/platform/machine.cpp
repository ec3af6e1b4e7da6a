#include "fastnnunet/platform/machine.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "fastnnunet/platform/control_groups.h"
#include "fastnnunet/platform/process.h"
#include "process_limits.h"

namespace fastnnunet::platform {
namespace {

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

#ifdef __linux__

TEST_CASE("platform: limits of this process alone") {
  {
    const testing::Limit fewer(RLIMIT_NOFILE, 200);
    CHECK(open_file_limit() == 200);
  }

  cpu_set_t all;
  REQUIRE(::sched_getaffinity(0, sizeof(all), &all) == 0);
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  REQUIRE(::sched_setaffinity(0, sizeof(one), &one) == 0);
  CHECK(available_cores() == 1);
  REQUIRE(::sched_setaffinity(0, sizeof(all), &all) == 0);
  CHECK(available_cores() <= CPU_COUNT(&all));
}

TEST_CASE("platform: memory is free where the system says so, or a control group says less") {
  std::ifstream in("/proc/meminfo");
  std::uint64_t available = 0;
  for (std::string key, unit; in >> key;) {
    if (key == "MemAvailable:") in >> available;
    std::getline(in, unit);
  }
  REQUIRE(available > 0);
  std::uint64_t expected = available * 1024;
  const ControlGroups groups = control_groups();
  if (groups.memory_available) expected = std::min(expected, *groups.memory_available);
  if (groups.memory_limit) {
    CHECK(memory().limit <= *groups.memory_limit);
    expected = std::min(expected, *groups.memory_limit);
  }
  // Others of this machine take and give back.
  CHECK(static_cast<double>(memory().available) > 0.6 * static_cast<double>(expected));
  CHECK(static_cast<double>(memory().available) < 1.6 * static_cast<double>(expected));
}

TEST_CASE("platform: a thread's number is its own") {
  CHECK(thread_id() == process_id());  // of the first thread, on Linux
  std::uint64_t other = 0;
  std::thread([&] { other = thread_id(); }).join();
  CHECK(other != 0);
  CHECK(other != thread_id());
}

#endif

TEST_CASE("platform: memory that this process has in use") {
  const std::uint64_t before = resident_memory();
  REQUIRE(before > 100'000);
  std::vector<char> touched(std::size_t{64} << 20, 1);
  const std::uint64_t after = resident_memory();
  CHECK(touched.back() == 1);
  CHECK(after >= before + (std::uint64_t{60} << 20));
  CHECK(after <= memory().limit);
}

}  // namespace
}  // namespace fastnnunet::platform
