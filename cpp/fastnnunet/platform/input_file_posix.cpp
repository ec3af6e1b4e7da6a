#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/platform/system_errors.h"

namespace fastnnunet {

namespace {

#if defined(__linux__) && !defined(MADV_POPULATE_READ)
constexpr int kPopulate = 22;  // of Linux 5.14; the C library's headers may be older than the system
#elif defined(__linux__)
constexpr int kPopulate = MADV_POPULATE_READ;
#else
constexpr int kPopulate = -1;
#endif

// An error of the disk is told in the call that reads, and is none of the system's knowing the call.
bool can_populate(void* mapping) {
  return kPopulate >= 0 && (::madvise(mapping, 1, kPopulate) == 0 || errno == EFAULT);
}

}  // namespace

int find_stamp(const std::filesystem::path& path, FileStamp& stamp) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return errno;
#ifdef __APPLE__
  const struct timespec& time = status.st_mtimespec;
#else
  const struct timespec& time = status.st_mtim;
#endif
  stamp = {static_cast<std::uint64_t>(status.st_size), static_cast<std::uint64_t>(status.st_dev),
           static_cast<std::uint64_t>(status.st_ino),
           static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::int64_t>(time.tv_nsec)};
  return 0;
}

void InputFile::prepare(std::uint64_t offset, std::size_t count) const {
  require(offset, count);
  if (data_ == nullptr || count == 0) return;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = offset / page * page;
  void* const from = const_cast<std::byte*>(data_) + begin;
  while (::madvise(from, static_cast<std::size_t>(offset + count - begin), kPopulate) != 0) {
    if (errno == EINTR) continue;
    // Touching the page would end in SIGBUS: the disk failed, or the file was cut short meanwhile.
    const int code = errno == EFAULT ? EIO : errno;
    if (const FileStamp now = stamp_at_path(); now.size < size()) changed(now);
    throw_system_error(name_, "cannot be read", code);
  }
}

void InputFile::let_go() const {
  // Of a shared mapping of a file nothing is lost; a system that refuses keeps the pages.
  if (data_ != nullptr) ::madvise(const_cast<std::byte*>(data_), static_cast<std::size_t>(stamp_.size), MADV_DONTNEED);
}

InputFile::InputFile(const std::filesystem::path& path, FileAccess access)
    : path_(path), name_(utf8(path)), access_(access) {
  // Not blocking, for a named pipe without a writer; it means nothing to a file.
  handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (handle_ < 0) throw_system_error(name_, "cannot be opened", errno);
  // The destructor does not run for a constructor that throws.
  try {
    struct stat status;
    if (::fstat(handle_, &status) != 0) throw_system_error(name_, "cannot be examined", errno);
    if (S_ISDIR(status.st_mode)) throw StorageError(name_, "is a directory, not a file");
    if (!S_ISREG(status.st_mode)) throw StorageError(name_, "is not a regular file");
    // Through the path, as every later check: what is replaced in between is seen at once.
    stamp_ = stamp_at_path();
    if (stamp_.index != static_cast<std::uint64_t>(status.st_ino) ||
        stamp_.device != static_cast<std::uint64_t>(status.st_dev) ||
        stamp_.size != static_cast<std::uint64_t>(status.st_size)) {
      throw StorageError(name_, "file was replaced or changed while it was opened", Passing::if_it_changes);
    }
    if (stamp_.size > std::numeric_limits<std::size_t>::max()) throw StorageError(name_, "is too large to map");
    if (access == FileAccess::prefer_mapped && stamp_.size > 0) {
      void* data = ::mmap(nullptr, static_cast<std::size_t>(stamp_.size), PROT_READ, MAP_SHARED, handle_, 0);
      if (data == MAP_FAILED) throw_system_error(name_, "cannot be mapped into memory", errno);
      if (can_populate(data)) {
        data_ = static_cast<const std::byte*>(data);
      } else {
        ::munmap(data, static_cast<std::size_t>(stamp_.size));
      }
    }
  } catch (...) {
    ::close(handle_);
    throw;
  }
}

InputFile::~InputFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), static_cast<std::size_t>(stamp_.size));
  ::close(handle_);
}

void InputFile::read(std::uint64_t offset, void* to, std::size_t count) const {
  require(offset, count);
  if (data_ != nullptr) {
    prepare(offset, count);
    std::memcpy(to, data_ + offset, count);
    return;
  }
  char* next = static_cast<char*>(to);
  while (count > 0) {
    const ssize_t got =
        ::pread(handle_, next, std::min<std::size_t>(count, std::size_t{1} << 30), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_system_error(name_, "cannot be read", errno);
    }
    if (got == 0) throw StorageError(name_, "file is truncated: it ends at byte " + std::to_string(offset));
    next += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::size_t>(got);
  }
}

}  // namespace fastnnunet
