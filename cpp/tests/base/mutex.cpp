#include "fastnnunet/base/mutex.h"

#include <chrono>
#include <thread>

#include "catch.h"

namespace fastnnunet::base {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("mutex: whoever waits hears of a change, or that the time is over", "[base]") {
  Mutex mutex;
  Condition changed;
  bool done = false;
  {
    MutexLock lock(mutex);
    const auto begin = Condition::Clock::now();
    while (changed.wait_for(lock, milliseconds(20))) continue;  // may end before
    CHECK(Condition::Clock::now() - begin >= milliseconds(20));
    CHECK_FALSE(changed.wait_until(lock, begin));
  }
  std::thread other([&] {
    const MutexLock lock(mutex);
    done = true;
    changed.notify_all();
  });
  {
    MutexLock lock(mutex);
    bool in_time = true;
    while (!done && in_time) in_time = changed.wait_for(lock, seconds(60));
    CHECK(done);
    CHECK(in_time);
  }
  other.join();
}

TEST_CASE("mutex: a lock can be left for a while", "[base]") {
  Mutex mutex;
  int value = 0;
  MutexLock lock(mutex);
  lock.unlock();
  std::thread([&] {
    const MutexLock others(mutex);
    value = 1;
  }).join();
  lock.lock();
  CHECK(value == 1);
}

}  // namespace
}  // namespace fastnnunet::base
