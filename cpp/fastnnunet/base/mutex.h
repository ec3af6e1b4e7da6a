// Locks that clang checks (-Wthread-safety): what a mutex guards is annotated with it, and code that touches it without
// the lock does not compile there. Other compilers ignore the annotations.
//
//   class Counter {
//    public:
//     void add() {
//       const MutexLock lock(mutex_);
//       ++count_;
//       changed_.notify_all();
//     }
//     void wait_for(int count) {
//       MutexLock lock(mutex_);
//       while (count_ < count) changed_.wait(lock);  // a lambda would be checked apart, as if the lock was not held
//     }
//
//    private:
//     Mutex mutex_;
//     Condition changed_;
//     int count_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
//   };
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define FASTNNUNET_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define FASTNNUNET_THREAD_SAFETY(attribute)
#endif
// Of a variable: it is touched only while the mutex is held.
#define FASTNNUNET_GUARDED_BY(mutex) FASTNNUNET_THREAD_SAFETY(guarded_by(mutex))
// Of a function: whoever calls it holds the mutex, and still does when it returns.
#define FASTNNUNET_REQUIRES(mutex) FASTNNUNET_THREAD_SAFETY(requires_capability(mutex))
// Of a function: whoever calls it does not hold the mutex.
#define FASTNNUNET_EXCLUDES(mutex) FASTNNUNET_THREAD_SAFETY(locks_excluded(mutex))

namespace fastnnunet::base {

class FASTNNUNET_THREAD_SAFETY(capability("mutex")) Mutex {
 public:
  void lock() FASTNNUNET_THREAD_SAFETY(acquire_capability()) { mutex_.lock(); }
  void unlock() FASTNNUNET_THREAD_SAFETY(release_capability()) { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a mutex until it goes out of scope.
class FASTNNUNET_THREAD_SAFETY(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) FASTNNUNET_THREAD_SAFETY(acquire_capability(mutex)) : lock_(mutex.mutex_) {}
  ~MutexLock() FASTNNUNET_THREAD_SAFETY(release_capability()) {}  // NOLINT(modernize-use-equals-default)
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() FASTNNUNET_THREAD_SAFETY(acquire_capability()) { lock_.lock(); }
  void unlock() FASTNNUNET_THREAD_SAFETY(release_capability()) { lock_.unlock(); }

 private:
  friend class Condition;
  std::unique_lock<std::mutex> lock_;
};

// Wakes up threads that wait for a change of what a mutex guards. Waits may end without one.
class Condition {
 public:
  using Clock = std::chrono::steady_clock;

  void wait(MutexLock& lock) { changed_.wait(lock.lock_); }
  // False where the time is over.
  bool wait_until(MutexLock& lock, Clock::time_point deadline) {
    return changed_.wait_until(lock.lock_, deadline) == std::cv_status::no_timeout;
  }
  bool wait_for(MutexLock& lock, Clock::duration duration) { return wait_until(lock, Clock::now() + duration); }
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace fastnnunet::base
