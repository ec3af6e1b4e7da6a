// What the operating system is asked for. Every call of one stands in platform.cpp; the rest of the core is portable
// C++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fastnnunet/base/error.h"

namespace fastnnunet {

// How a file's bytes are come by: shared with the system's cache, or copied out of it piece by piece. InputFile maps
// only where it is asked to and the system can be asked to read a part of a mapping and say whether that went well
// (Linux 5.14 and later): elsewhere a failing disk would kill the process. On Windows, a mapped file could be neither
// replaced nor deleted either.
enum class FileAccess { prefer_mapped, copied };

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

// A file open for reading. It notices when the file is no longer the one that was opened: reading a mapping beyond the
// end of a file that somebody truncated would kill the process.
//
// Errors that may be over after a while say so (error.h, Passing): EIO, ESTALE, ETIMEDOUT, EAGAIN, ENOTCONN, EHOSTDOWN
// and the like, as file servers give them that are away for a moment. Nobody waits here.
class InputFile {
 public:
  // Throws StorageError.
  InputFile(const std::filesystem::path& path, FileAccess access);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& name() const { return name_; }  // UTF-8, for messages
  std::uint64_t size() const { return stamp_.size; }
  const FileStamp& stamp() const { return stamp_; }
  bool mapped() const { return data_ != nullptr; }

  // Whether the path still leads to the file that was opened, untouched. Throws StorageError where it leads to none.
  bool current() const;

  // A number for the content, without reading all of it: of the size, the first 4 KiB, the last 16 KiB, and 16 pieces
  // of 4 KiB between. So it covers the header of each format, the table of a .b2nd's chunks with their compressed
  // sizes, the directory of an .npz with its checksums, and for an .npy, which has nothing of the kind, enough voxels
  // to tell one image from another. Throws StorageError.
  std::uint64_t content() const;

  // Opens the path anew and goes on with what it leads to, where that has this content. Where it has not, or where the
  // content was never looked at, throws StorageError, and this stays as it is. What bytes() gave is not valid any more.
  void reopen(std::optional<std::uint64_t> content);

  // Reads `count` bytes from `offset` into the system's cache where the file is mapped; to be called before bytes() of
  // them. Throws StorageError where the disk fails.
  void prepare(std::uint64_t offset, std::size_t count) const;

  // `count` bytes from `offset`: in the mapping, or copied into `scratch`, which only ever grows. Throws StorageError.
  const std::byte* bytes(std::uint64_t offset, std::size_t count, std::vector<std::byte>& scratch) const;
  void read(std::uint64_t offset, void* to, std::size_t count) const;

  // Takes what was read of a mapped file out of the process's memory. The system's cache keeps it, and bytes() of it
  // stay valid.
  void let_go() const;

 private:
  void require(std::uint64_t offset, std::size_t count) const;
  // Throws StorageError where there is none.
  FileStamp stamp_at_path() const;
  [[noreturn]] void changed(const FileStamp& now) const;

  std::filesystem::path path_;
  std::string name_;
  FileAccess access_;
  FileStamp stamp_;
  const std::byte* data_ = nullptr;
#ifdef _WIN32
  void* handle_ = nullptr;
#else
  int handle_ = -1;
#endif
};

std::string utf8(const std::filesystem::path& path);

// Whether an error with this number says that the process has reached a limit, and the file is as good as it was.
bool is_limit(int code);

// Whether an error with this number of the system's (errno; GetLastError on Windows) may be over after a while.
Passing passing(int code);

// Memory of whole pages straight from the system, to which they go back when they are given back; an allocator keeps
// what was freed, for each thread. A page that is never touched takes no memory. Throws std::bad_alloc.
void* take_pages(std::size_t bytes);
void give_pages(void* memory, std::size_t bytes) noexcept;
// How often this process has asked so far.
std::uint64_t page_requests();

std::uint64_t process_id();

// The number by which the system, and Python's threading.get_native_id(), know the calling thread.
std::uint64_t thread_id();

// Cores that this process may use: affinity and control groups, whichever is less. At least 1.
int available_cores();

// Files that this process may hold open at once.
std::uint64_t open_file_limit();

// Bytes. The limit is the machine's memory or a smaller one set for this process by a control group or a job; available
// is what of it can still be taken without anything being killed or swapped.
struct Memory {
  std::uint64_t limit = 0;
  std::uint64_t available = 0;
};
Memory memory();

// Bytes of memory that this process has in use now (resident); 0 where the system does not tell.
std::uint64_t resident_memory();

// What Linux' control groups, version 1 or 2 or both, allow this process: the least over all groups that it is in.
// Absent where nothing is limited. `root` stands for "/" in tests.
struct ControlGroups {
  std::optional<std::uint64_t> memory_limit;
  std::optional<std::uint64_t> memory_available;
  std::optional<double> cores;
};
ControlGroups control_groups(const std::filesystem::path& root = "/");

}  // namespace fastnnunet
