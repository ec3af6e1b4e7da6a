#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include "fastnnunet/platform/input_file.h"

#include <windows.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/system_errors.h"

namespace fastnnunet::platform {

namespace {

std::uint64_t joined(DWORD high, DWORD low) { return (static_cast<std::uint64_t>(high) << 32) | low; }

std::int64_t ticks(const FILETIME& time) {
  return static_cast<std::int64_t>(joined(time.dwHighDateTime, time.dwLowDateTime));
}

// Folders must leave room for a name of 12 characters.
constexpr std::size_t kLongest = 247;

}  // namespace

std::filesystem::path system_path(const std::filesystem::path& path) {
  const std::wstring& given = path.native();
  // What has a prefix of this kind is taken as it is.
  if (given.starts_with(LR"(\\?\)") || given.starts_with(LR"(\\.\)")) return path;
  const DWORD room = GetFullPathNameW(given.c_str(), 0, nullptr, nullptr);
  if (room == 0) return path;
  std::wstring full(room, L'\0');
  const DWORD length = GetFullPathNameW(given.c_str(), room, full.data(), nullptr);
  if (length == 0 || length >= room || length <= kLongest) return path;
  full.resize(length);
  if (full.starts_with(LR"(\\)")) return LR"(\\?\UNC\)" + full.substr(2);
  return LR"(\\?\)" + full;
}

InputFile::InputFile(const std::filesystem::path& path, std::optional<FileParts> parts)
    : path_(path), name_(utf8(path)), parts_(std::move(parts)) {
  // Deleting and renaming stay allowed to others, as on other systems.
  const std::filesystem::path full = system_path(path);
  const HANDLE handle = CreateFileW(full.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                    nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) {
    const DWORD code = GetLastError();
    const DWORD attributes = GetFileAttributesW(full.c_str());
    if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0)
      throw StorageError(name_, "is a directory, not a file");
    throw_system_error(name_, "cannot be opened", static_cast<int>(code));
  }
  // The destructor does not run for a constructor that throws.
  try {
    // The console, a pipe, or NUL.
    if (GetFileType(handle) != FILE_TYPE_DISK) throw StorageError(name_, "is not a regular file");
    BY_HANDLE_FILE_INFORMATION information;
    if (!GetFileInformationByHandle(handle, &information)) {
      throw_system_error(name_, "cannot be examined", static_cast<int>(GetLastError()));
    }
    // Size and time alone: the index would need the path to be opened anew at every check.
    stamp_ = {joined(information.nFileSizeHigh, information.nFileSizeLow), 0, 0, ticks(information.ftLastWriteTime)};
    if (parts_) stamp_.modified = 0;  // parts are written into it
  } catch (...) {
    CloseHandle(handle);
    throw;
  }
  handle_ = handle;
}

InputFile::~InputFile() { CloseHandle(handle_); }

int find_stamp(const std::filesystem::path& path, FileStamp& stamp) {
  WIN32_FILE_ATTRIBUTE_DATA attributes;
  const std::filesystem::path full = system_path(path);
  if (!GetFileAttributesExW(full.c_str(), GetFileExInfoStandard, &attributes)) return static_cast<int>(GetLastError());
  stamp = {joined(attributes.nFileSizeHigh, attributes.nFileSizeLow), 0, 0, ticks(attributes.ftLastWriteTime)};
  return 0;
}

void InputFile::read_here(std::uint64_t offset, void* to, std::size_t count) const {
  char* next = static_cast<char*>(to);
  while (count > 0) {
    OVERLAPPED position{};
    position.Offset = static_cast<DWORD>(offset & 0xffffffffu);
    position.OffsetHigh = static_cast<DWORD>(offset >> 32);
    const DWORD wanted = static_cast<DWORD>(std::min<std::size_t>(count, std::size_t{1} << 30));
    DWORD got = 0;
    const BOOL done = ReadFile(handle_, next, wanted, &got, &position);
    if (!done && GetLastError() != ERROR_HANDLE_EOF)
      throw_system_error(name_, "cannot be read", static_cast<int>(GetLastError()));
    if (got == 0) throw StorageError(name_, "file is truncated: it ends at byte " + std::to_string(offset));
    next += got;
    offset += got;
    count -= got;
  }
}

}  // namespace fastnnunet::platform
