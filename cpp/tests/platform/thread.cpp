#include "fastnnunet/platform/thread.h"

#ifdef __linux__
#include <pthread.h>
#include <sys/resource.h>
#endif

#include <atomic>
#include <utility>

#include "catch.h"
#include "sanitized.h"

namespace fastnnunet::platform {
namespace {

TEST_CASE("platform: a thread runs its body once, and is waited for") {
  std::atomic<int> runs{0};
  Thread thread(1 << 20, [&] { ++runs; });
  Thread moved = std::move(thread);
  moved.join();
  CHECK(runs == 1);
}

#if defined(__linux__) && !defined(FASTNNUNET_SANITIZED)

std::size_t stack_of_a_thread(std::size_t bytes) {
  std::size_t size = 0;
  Thread thread(bytes, [&] {
    pthread_attr_t attributes;
    if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return;
    ::pthread_attr_getstacksize(&attributes, &size);
    ::pthread_attr_destroy(&attributes);
  });
  thread.join();
  return size;
}

TEST_CASE("platform: a thread has the stack that was asked for, whatever ulimit -s says") {
  // What an ended thread leaves is used again, so it may be more. Beyond what ulimit -s usually says, too.
  for (const std::size_t bytes : {std::size_t{256} << 10, std::size_t{3} << 20, std::size_t{64} << 20}) {
    CAPTURE(bytes);
    CHECK(stack_of_a_thread(bytes) >= bytes);
  }
  // Less than the system takes, and no whole number of pages.
  CHECK(stack_of_a_thread(1) > 0);
  CHECK(stack_of_a_thread((1 << 20) + 1) >= (1 << 20) + 1);
}

#endif

}  // namespace
}  // namespace fastnnunet::platform
