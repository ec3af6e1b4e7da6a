// What a thread is doing right now, for other threads to look at.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/platform/process.h"

namespace fastnnunet::sample {

class Activity {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kNoCase = static_cast<std::size_t>(-1);

  struct Now {
    const void* owner = nullptr;  // on whose behalf; null for an idle thread
    std::uint64_t thread = 0;     // the system's number of it
    std::uint64_t step = 0;
    std::uint32_t slot = 0;
    std::size_t case_number = kNoCase;  // in the owner's list
    // Named by what lives at least as long as the owner's work: look at it only on behalf of the owner.
    std::string_view stage;
    std::string detail;  // of the stage: what is waited for, if anything
    Clock::time_point sample_since;
    Clock::time_point stage_since;
  };

  void begin(const void* owner, std::uint64_t step, std::uint32_t slot) {
    const auto time = Clock::now();
    const base::MutexLock lock(mutex_);
    now_.owner = owner;
    now_.thread = platform::thread_id();
    now_.step = step;
    now_.slot = slot;
    now_.case_number = kNoCase;
    now_.stage = "choosing a case";
    now_.detail.clear();
    now_.sample_since = now_.stage_since = time;
  }
  void take_case(std::size_t number) {
    const base::MutexLock lock(mutex_);
    now_.case_number = number;
  }
  // Gives the stage that was left, to come back to.
  std::string_view enter(std::string_view stage, std::string detail = {}) {
    const auto time = Clock::now();
    const base::MutexLock lock(mutex_);
    const std::string_view before = now_.stage;
    now_.stage = stage;
    now_.detail = std::move(detail);
    now_.stage_since = time;
    return before;
  }
  void end() {
    const base::MutexLock lock(mutex_);
    now_.owner = nullptr;
    now_.stage = {};
    now_.detail.clear();
  }
  // `look(now)`; what it is given holds until it returns.
  template <typename Look>
  void look(Look&& look) const {
    const base::MutexLock lock(mutex_);
    look(now_);
  }

 private:
  mutable base::Mutex mutex_;
  Now now_ FASTNNUNET_GUARDED_BY(mutex_);
};

}  // namespace fastnnunet::sample
