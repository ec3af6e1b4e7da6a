// The open files of one thread: the least recently used is closed when there are too many, or when they keep too much.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "fastnnunet/platform/file_place.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::storage {

class OpenVolumes {
 public:
  // A sample works on so many at once: image, segmentation, previous segmentation. These are never closed for memory.
  static constexpr std::size_t kOfOneSample = 4;
  // What the files of one thread may keep: those of some dozens with blocks of nnU-Net's size.
  static constexpr std::size_t kMemory = std::size_t{8} << 20;

  explicit OpenVolumes(std::size_t limit, std::size_t memory = kMemory);

  // The reference stays valid until the next call. A file that is not open is opened where `place` says, if that is
  // given. Throws StorageError.
  Volume& get(const std::filesystem::path& file, const std::string& member,
              const std::function<FilePlace()>& place = {});
  // Closes a file, if it is open.
  void close(const std::filesystem::path& file, const std::string& member);
  void clear();
  std::size_t size() const;
  std::size_t memory() const;
  std::uint64_t bytes_read() const;  // of all files ever opened here

 private:
  void close_last();

  struct Key {
    std::filesystem::path file;
    std::string member;
  };
  // What a key is looked for with: a key itself would need memory for its copies.
  struct KeyView {
    const std::filesystem::path& file;
    const std::string& member;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const KeyView& key) const;
    std::size_t operator()(const Key& key) const { return (*this)(KeyView{key.file, key.member}); }
  };
  struct Equal {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return a.member == b.member && a.file.native() == b.file.native();
    }
  };
  struct Entry {
    Key key;
    std::unique_ptr<Volume> volume;
  };
  std::size_t limit_;
  std::size_t memory_limit_;
  std::uint64_t bytes_read_of_closed_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, Hash, Equal> by_key_;
};

}  // namespace fastnnunet::storage
