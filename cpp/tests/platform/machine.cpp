#include "fastnnunet/platform/machine.h"

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "catch.h"
#include "fastnnunet/platform/process.h"

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
