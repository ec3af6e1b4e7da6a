#include "fastnnunet/platform/pages.h"

#include <cstring>
#include <fstream>
#include <new>

#include "catch.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/platform/thread_room.h"
#include "sanitized.h"

namespace fastnnunet::platform {
namespace {

#if defined(__linux__) && !defined(FASTNNUNET_SANITIZED)

// Of this process, in bytes.
std::uint64_t address_space() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t pages = 0;
  in >> pages;
  return pages * 4096;
}

TEST_CASE("platform: pages go back to the system, all of them") {
  constexpr std::size_t kSize = std::size_t{64} << 20;
  const std::uint64_t before = address_space();
  for (int i = 0; i < 20; ++i) {
    void* const pages = take_pages(kSize);
    std::memset(pages, 1, 100);
    give_pages(pages, kSize);
  }
  CHECK(address_space() < before + 2 * kSize);
  for (int i = 0; i < 20; ++i) {
    Buffer buffer;
    buffer.reserve<char>(kSize);
    buffer.reserve<char>(kSize + 1);
  }
  CHECK(address_space() < before + 2 * kSize);
}

TEST_CASE("platform: memory that the system does not have") {
  CHECK_THROWS_AS(take_pages(std::size_t{1} << 60), std::bad_alloc);
  Buffer buffer;
  float* const first = buffer.reserve<float>(1000);
  first[999] = 1;
  CHECK_THROWS_AS(buffer.reserve<char>(std::size_t{1} << 60), std::bad_alloc);
  // What it had may be gone, but it says so.
  CHECK(buffer.bytes() == 0);
  float* const again = buffer.reserve<float>(1000);
  REQUIRE(again != nullptr);
  again[999] = 2;
  CHECK(buffer.bytes() == 4096);
}

#endif

TEST_CASE("platform: pages for nothing, and how often there were some") {
  const std::uint64_t before = page_requests();
  void* const none = take_pages(0);
  CHECK(none != nullptr);
  give_pages(none, 0);
  CHECK(page_requests() == before + 1);
  Buffer buffer;
  CHECK(buffer.reserve<int>(0) == nullptr);
  CHECK(page_requests() == before + 1);
}

TEST_CASE("platform: a buffer grows, and is not written again while somebody holds it") {
  Buffer buffer;
  int* const first = buffer.reserve<int>(1025);
  CHECK(buffer.bytes() == 2 * 4096);
  CHECK(buffer.bytes() == Buffer::rounded(1025 * sizeof(int)));
  first[1024] = 7;
  CHECK(buffer.reserve<int>(3) == first);
  CHECK(buffer.reserve<int>(2048) == first);
  auto lease = buffer.lease();
  int* const second = buffer.reserve<int>(3);
  CHECK(second != first);
  CHECK(first[1024] == 7);
  lease.reset();
  CHECK(buffer.reserve<int>(3) == second);
  CHECK(buffer.reserve<int>(100'000) != nullptr);
  CHECK(buffer.bytes() == Buffer::rounded(400'000));
}

TEST_CASE("platform: what the rooms of a thread take is counted") {
  struct Own {
    double value;
  };
  const std::size_t before = thread_room_bytes();
  Own* const room = thread_room<Own>(600);
  CHECK(thread_room_bytes() == before + room_of<Own>(600));
  CHECK(thread_room<Own>(10) == room);
  CHECK(thread_room_bytes() == before + room_of<Own>(600));
  thread_room<Own>(6000);
  CHECK(thread_room_bytes() == before + room_of<Own>(6000));
  CHECK(static_cast<void*>(thread_room<Own, 1>(600)) != static_cast<void*>(thread_room<Own>(600)));
  CHECK(thread_room_bytes() == before + room_of<Own>(6000) + room_of<Own>(600));
}

}  // namespace
}  // namespace fastnnunet::platform
