// Where a file is opened, and what brings its bytes there while only parts of it are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace fastnnunet {

// Bytes [begin, end) of a file.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const ByteRange&) const = default;
};

// Of a file that may be there in parts. Its `size` bytes are followed, from the next multiple of `piece` on, by a byte
// for each `piece` of them: 1 where the piece is there. Whoever writes pieces says so after that, and takes none back.
struct FileParts {
  std::uint64_t size = 0;
  std::uint64_t piece = 4096;
  // Another number for every content that the whole file could have; parts of it tell nothing.
  std::uint64_t content = 0;
  // Brings ranges of bytes into the file. It is called by the thread that needs them, by several threads at once, and
  // may take long. Its StorageErrors are those of the file. Empty where the file is whole, and nothing follows it.
  std::function<void(const std::vector<ByteRange>& ranges)> fetch;
};

struct FilePlace {
  // NOLINTNEXTLINE(google-explicit-constructor): a path is where a whole file is
  FilePlace(std::filesystem::path opened, std::optional<FileParts> its_parts = {})
      : path(std::move(opened)), parts(std::move(its_parts)) {}

  std::filesystem::path path;
  std::optional<FileParts> parts;  // none: a file that is whole, and its own content
};

}  // namespace fastnnunet
