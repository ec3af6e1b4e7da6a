// The class locations of cases, read once each and kept under a budget: the least recently used are forgotten first.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "fastnnunet/sampling/class_locations.h"

namespace fastnnunet {

class LocationCache {
 public:
  // Reads the locations of a case, whose image has the given shape. Called from any thread, once at a time for a case.
  using Reader = std::function<ClassLocations(std::size_t case_number, const Index3& shape)>;

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
  mutable std::mutex mutex_;
  std::condition_variable read_;
  std::unordered_map<std::size_t, Entry> entries_;
  std::list<std::size_t> recent_;  // the most recently used first
  std::size_t memory_ = 0;
  std::uint64_t reads_ = 0;
};

}  // namespace fastnnunet
