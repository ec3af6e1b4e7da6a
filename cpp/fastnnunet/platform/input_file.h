// Files that are read: copied out of the system's cache, piece by piece. They are not mapped. The system can be asked
// whether it could read a part of a mapping, but a file that is cut after its answer ends the process with SIGBUS; and
// on Windows, a mapped file could be neither replaced nor deleted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fastnnunet/platform/file_place.h"

namespace fastnnunet::platform {

// What the system says of a file. Where it is as it was, the content is; where it is not, the content may be all the
// same: the file was touched, moved to another disk or server, or replaced by a copy of itself.
struct FileStamp {
  std::uint64_t size = 0;
  std::uint64_t device = 0;
  std::uint64_t index = 0;
  std::int64_t modified = 0;
  bool operator==(const FileStamp&) const = default;
};
// Absent where the system does not tell.
std::optional<FileStamp> stamp_of(const std::filesystem::path& path);
// The same: 0 and the stamp, or the number of the system's error.
int find_stamp(const std::filesystem::path& path, FileStamp& stamp);

// A file open for reading. It notices when the file is no longer the one that was opened. Of a file that is there in
// parts, bytes that are missing are fetched before they are read.
//
// Errors that may be over after a while say so (error.h, Passing): EIO, ESTALE, ETIMEDOUT, EAGAIN, ENOTCONN, EHOSTDOWN
// and the like, as file servers give them that are away for a moment. Nobody waits here.
class InputFile {
 public:
  // Bytes between two pieces of a file that are read along with them, because a second request takes longer.
  static constexpr std::uint64_t kShortGap = 16384;

  // Throws StorageError.
  explicit InputFile(const std::filesystem::path& path, std::optional<FileParts> parts = {});
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& name() const { return name_; }  // UTF-8, for messages
  std::uint64_t size() const { return parts_ ? parts_->size : stamp_.size; }
  const FileStamp& stamp() const { return stamp_; }

  // Whether the path still leads to the file that was opened, untouched. Throws StorageError where it leads to none.
  bool current() const;

  // A number for the content, without reading all of it: of the size, the first 4 KiB, the last 16 KiB, and 16 pieces
  // of 4 KiB between. So it covers the header of each format, the table of a .b2nd's chunks with their compressed
  // sizes, the directory of an .npz with its checksums, and for an .npy, which has nothing of the kind, enough voxels
  // to tell one image from another. Throws StorageError.
  std::uint64_t content() const;

  // Opens the path anew and goes on with what it leads to, where that has this content. Where it has not, or where the
  // content was never looked at, throws StorageError, and this stays as it is.
  void reopen(std::optional<std::uint64_t> content);

  // `count` bytes from `offset`, copied into `scratch`, which only ever grows. Throws StorageError.
  const std::byte* bytes(std::uint64_t offset, std::size_t count, std::vector<std::byte>& scratch) const;
  void read(std::uint64_t offset, void* to, std::size_t count) const;

  // Whether some of the file may be missing here.
  bool in_parts() const { return parts_ && parts_->fetch; }
  // Makes sure that all of these ranges are there, with one request for what is missing; without it, reads fetch what
  // they need one by one. `ranges` is left with what was missing. Throws StorageError.
  void fetch(std::vector<ByteRange>& ranges) const;

 private:
  void require(std::uint64_t offset, std::size_t count) const;
  // What is at `offset` of the file here, whether it was brought there or not.
  void read_here(std::uint64_t offset, void* to, std::size_t count) const;
  bool is_there(const ByteRange& range) const;
  // Throws StorageError where there is none.
  FileStamp stamp_at_path() const;
  [[noreturn]] void changed(const FileStamp& now) const;

  std::filesystem::path path_;
  std::string name_;
  std::optional<FileParts> parts_;
  FileStamp stamp_;
#ifdef _WIN32
  void* handle_ = nullptr;
#else
  int handle_ = -1;
#endif
};

std::string utf8(const std::filesystem::path& path);

// The path as the system's calls take it, however long it is: Windows takes 260 characters at most, except of one that
// is written in full behind a prefix. Elsewhere the path itself.
std::filesystem::path system_path(const std::filesystem::path& path);

}  // namespace fastnnunet::platform
