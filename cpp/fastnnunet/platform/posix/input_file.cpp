#include "fastnnunet/platform/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/system_errors.h"

namespace fastnnunet::platform {

std::filesystem::path system_path(const std::filesystem::path& path) { return path; }

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

InputFile::InputFile(const std::filesystem::path& path, std::optional<FileParts> parts)
    : path_(path), name_(utf8(path)), parts_(std::move(parts)) {
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
  } catch (...) {
    ::close(handle_);
    throw;
  }
}

InputFile::~InputFile() { ::close(handle_); }

void InputFile::read_here(std::uint64_t offset, void* to, std::size_t count) const {
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

}  // namespace fastnnunet::platform
