// Arrays of the program as volumes, without a copy: each under a name of its own that open_volume() takes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "fastnnunet/base/box.h"
#include "fastnnunet/storage/element.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::storage {

// (C, X, Y, Z), with any steps between voxels. The memory stays valid and unchanged for as long as this lives.
struct MemoryArray {
  const std::byte* data = nullptr;
  Element element = Element::float32;
  std::int64_t channels = 0;
  Index3 shape{};
  std::array<std::int64_t, 4> steps{};  // in bytes, may be negative
  std::shared_ptr<const void> owner;    // of the memory
};

// Puts an array where open_volume() finds it, until the result is gone: under `name` with a number that no other has.
// Volumes that are open then fail to read, and a read that goes on keeps the memory.
class MemoryFile {
 public:
  MemoryFile(const std::string& name, MemoryArray array);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::shared_ptr<const MemoryArray> array_;
};

// Null where no array has this name.
std::unique_ptr<Volume> open_memory(const std::string& path);

}  // namespace fastnnunet::storage
