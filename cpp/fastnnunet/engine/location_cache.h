// The class locations of cases, read once each and kept under a budget: the least recently used are forgotten first.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <unordered_map>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/sampling/class_locations.h"

namespace fastnnunet::engine {

class LocationCache {
 public:
  using Reader = LocationReader;

  LocationCache(Reader reader, std::size_t budget) : reader_(std::move(reader)), budget_(budget) {}

  std::shared_ptr<const ClassLocations> get(std::size_t case_number, const Index3& shape);
  std::size_t memory() const;
  std::uint64_t reads() const;

 private:
  struct Entry {
    std::shared_ptr<const ClassLocations> locations;  // null while a thread reads them
    std::list<std::size_t>::iterator used;
  };

  Reader reader_;
  std::size_t budget_;
  mutable base::Mutex mutex_;
  base::Condition read_;
  std::unordered_map<std::size_t, Entry> entries_ FASTNNUNET_GUARDED_BY(mutex_);
  std::list<std::size_t> recent_ FASTNNUNET_GUARDED_BY(mutex_);  // the most recently used first
  std::size_t memory_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  std::uint64_t reads_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
};

}  // namespace fastnnunet::engine
