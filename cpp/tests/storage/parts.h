// Files that are there in parts, as whoever makes loaders keeps them, and what was requested of their sources.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <mutex>
#include <vector>

#include "fastnnunet/platform/file_place.h"
#include "storage/files.h"

namespace fastnnunet::testing {

class PartialFile {
 public:
  static constexpr std::uint64_t kPiece = 64;

  PartialFile(const std::filesystem::path& source, std::filesystem::path path)
      : source_(read_file(source)), path_(std::move(path)) {
    clear();
  }

  // Makes it anew, with none of its parts.
  void clear() const { write_file(path_, Bytes(map() + pieces(), '\0')); }

  FilePlace place() {
    FileParts parts;
    parts.size = source_.size();
    parts.piece = kPiece;
    parts.content = 7;
    parts.fetch = [this](const std::vector<ByteRange>& ranges) { fetch(ranges); };
    return {path_, parts};
  }

  std::size_t size() const { return source_.size(); }
  std::size_t requests() const { return requests_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::uint64_t pieces() const { return (source_.size() + kPiece - 1) / kPiece; }
  std::uint64_t map() const { return pieces() * kPiece; }

  void fetch(const std::vector<ByteRange>& ranges) {
    const std::lock_guard lock(mutex_);
    ++requests_;
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    for (const ByteRange& range : ranges) {
      const std::uint64_t first = range.begin / kPiece, last = (range.end - 1) / kPiece + 1;
      const std::uint64_t begin = first * kPiece, end = std::min<std::uint64_t>(last * kPiece, source_.size());
      bytes_ += end - begin;
      file.seekp(static_cast<std::streamoff>(begin));
      file.write(source_.data() + begin, static_cast<std::streamsize>(end - begin));
      file.seekp(static_cast<std::streamoff>(map() + first));
      file << Bytes(last - first, '\1');
    }
  }

  Bytes source_;
  std::filesystem::path path_;
  std::mutex mutex_;
  std::size_t requests_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace fastnnunet::testing
