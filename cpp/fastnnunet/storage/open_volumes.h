// The open files of one thread: the least recently used is closed when there are too many.
#pragma once

#include <cstddef>
#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "fastnnunet/storage/volume.h"

namespace fastnnunet {

class OpenVolumes {
 public:
  explicit OpenVolumes(std::size_t limit);

  // The reference stays valid until the next call. Throws StorageError.
  Volume& get(const std::filesystem::path& file, const std::string& member);
  void clear();
  std::size_t size() const;
  std::size_t memory() const;
  std::uint64_t bytes_read() const;  // of all files ever opened here

 private:
  struct Entry {
    std::string key;
    std::unique_ptr<Volume> volume;
  };
  std::size_t limit_;
  std::uint64_t bytes_read_of_closed_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace fastnnunet
