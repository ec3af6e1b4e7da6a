// The ranges of a loop that several threads take from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <utility>

#include "fastnnunet/base/mutex.h"

namespace fastnnunet {

class Indices {
 public:
  // More ranges than threads, for some take longer than others. The mutex is locked here once: it hands what was
  // written before the loop to whoever takes the first range.
  Indices(std::int64_t count, int threads, Mutex& mutex)
      : mutex_(mutex), count_(count), ranges_(std::min(count, std::int64_t{4} * threads)) {
    const MutexLock lock(mutex_);
  }

  // Takes ranges until there are none, or one has failed.
  void work(const std::function<void(std::int64_t, std::int64_t)>& body) noexcept {
    try {
      for (std::int64_t i = take(); i >= 0; i = take()) body(count_ * i / ranges_, count_ * (i + 1) / ranges_);
    } catch (...) {
      const MutexLock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  // The first failure.
  void rethrow() {
    const MutexLock lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  // -1 at the end.
  std::int64_t take() {
    const MutexLock lock(mutex_);
    return !failure_ && next_ < ranges_ ? next_++ : -1;
  }

  Mutex& mutex_;
  std::int64_t next_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  std::int64_t count_;
  std::int64_t ranges_;
  std::exception_ptr failure_ FASTNNUNET_GUARDED_BY(mutex_);
};

}  // namespace fastnnunet
