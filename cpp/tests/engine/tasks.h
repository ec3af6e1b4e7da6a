// Work of a test's own on the threads of an arena.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "fastnnunet/engine/arena.h"

namespace fastnnunet::testing {

// Waits until it has been told as often as it was said to be.
class Countdown {
 public:
  explicit Countdown(int count) : count_(count) {}
  void tick() {
    const std::lock_guard lock(mutex_);
    if (--count_ <= 0) done_.notify_all();
  }
  bool wait(std::chrono::seconds patience = std::chrono::seconds(30)) {
    std::unique_lock lock(mutex_);
    return done_.wait_for(lock, patience, [&] { return count_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  int count_;
};

// What a test has the arena run. It waits for all of it, so it is declared after whatever that uses.
class Tasks {
 public:
  explicit Tasks(const std::shared_ptr<engine::Arena>& arena) : arena_(arena) {}
  ~Tasks() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return left_ == 0; });
  }
  void enqueue(std::function<void(engine::Arena::ThreadState&)> body) {
    list_.emplace_back(*this, std::move(body));
    {
      const std::lock_guard lock(mutex_);
      ++left_;
    }
    arena_->enqueue(list_.back());
  }

 private:
  struct One final : engine::Arena::Task {
    One(Tasks& of, std::function<void(engine::Arena::ThreadState&)> what) : tasks(of), body(std::move(what)) {}
    void run(engine::Arena::ThreadState& thread) noexcept override {
      body(thread);
      const std::lock_guard lock(mutex_);
      --tasks.left_;
      ended_.notify_all();
    }
    Tasks& tasks;
    std::function<void(engine::Arena::ThreadState&)> body;
  };
  // Of all tests: one of its own would be gone while a task still lets go of it.
  static inline std::mutex mutex_;
  static inline std::condition_variable ended_;
  int left_ = 0;
  const std::shared_ptr<engine::Arena>& arena_;
  std::deque<One> list_;
};

}  // namespace fastnnunet::testing
