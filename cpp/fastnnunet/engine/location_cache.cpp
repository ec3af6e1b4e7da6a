#include "fastnnunet/engine/location_cache.h"

namespace fastnnunet::engine {

std::shared_ptr<const ClassLocations> LocationCache::get(std::size_t case_number, const Index3& shape) {
  base::MutexLock lock(mutex_);
  for (;;) {
    const auto found = entries_.find(case_number);
    if (found == entries_.end()) break;
    if (found->second.locations != nullptr) {
      recent_.splice(recent_.begin(), recent_, found->second.used);
      return found->second.locations;
    }
    read_.wait(lock);
  }
  // All memory is there before the entry is: others wait for who has one that is null.
  std::list<std::size_t> newest(1, case_number);
  entries_.emplace(case_number, Entry{nullptr, recent_.end()});
  lock.unlock();
  std::shared_ptr<const ClassLocations> locations;
  try {
    locations = std::make_shared<const ClassLocations>(reader_(case_number, shape));
  } catch (...) {
    lock.lock();
    entries_.erase(case_number);
    read_.notify_all();
    throw;
  }
  lock.lock();
  ++reads_;
  memory_ += locations->memory();
  recent_.splice(recent_.begin(), newest);
  Entry& entry = entries_.find(case_number)->second;
  entry.locations = locations;
  entry.used = recent_.begin();
  while (memory_ > budget_ && recent_.size() > 1) {
    const auto oldest = entries_.find(recent_.back());
    memory_ -= oldest->second.locations->memory();
    entries_.erase(oldest);
    recent_.pop_back();
  }
  read_.notify_all();
  return locations;
}

std::size_t LocationCache::memory() const {
  const base::MutexLock lock(mutex_);
  return memory_;
}

std::uint64_t LocationCache::reads() const {
  const base::MutexLock lock(mutex_);
  return reads_;
}

}  // namespace fastnnunet::engine
