#include "fastnnunet/base/platform.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <sstream>
#include <system_error>
#include <thread>

#include "fastnnunet/base/error.h"

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
// Behind it, since it takes its types.
#include <psapi.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif
#ifdef __APPLE__
#include <mach/mach.h>
#include <pthread.h>
#endif
#endif

namespace fastnnunet {

bool is_limit(int code) {
#ifdef _WIN32
  return code == ERROR_TOO_MANY_OPEN_FILES || code == ERROR_NOT_ENOUGH_MEMORY || code == ERROR_OUTOFMEMORY ||
         code == ERROR_COMMITMENT_LIMIT;
#else
  return code == EMFILE || code == ENFILE || code == ENOMEM;
#endif
}

namespace {

[[noreturn]] void fail(const std::string& name, const std::string& what, int code) {
  const std::string reason = what + ": " + std::system_category().message(code);
  if (is_limit(code)) throw ResourceError(name, reason);
  throw StorageError(name, reason, passing(code));
}

// FNV-1a, which is not cryptographic.
std::uint64_t hash(std::uint64_t so_far, const void* bytes, std::size_t count) {
  const auto* next = static_cast<const unsigned char*>(bytes);
  for (std::size_t i = 0; i < count; ++i) so_far = (so_far ^ next[i]) * 0x100000001b3u;
  return so_far;
}

}  // namespace

Passing passing(int code) {
#ifdef _WIN32
  switch (code) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
      return Passing::if_it_was_there;
    case ERROR_IO_DEVICE:
    case ERROR_NOT_READY:
    case ERROR_SEM_TIMEOUT:
    case ERROR_TIMEOUT:
    case ERROR_SHARING_VIOLATION:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
    case ERROR_NETWORK_BUSY:
    case ERROR_DEV_NOT_EXIST:
    case ERROR_UNEXP_NET_ERR:
    case ERROR_NETNAME_DELETED:
    case ERROR_NETWORK_UNREACHABLE:
    case ERROR_HOST_UNREACHABLE:
    case ERROR_HOST_DOWN:
    case ERROR_CONNECTION_ABORTED:
      return Passing::yes;
    default:
      return Passing::no;
  }
#else
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      return Passing::if_it_was_there;
    case EIO:
    case EAGAIN:
    case ESTALE:
    case ETIMEDOUT:
    case ENOTCONN:  // FUSE, whose server is gone
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ESHUTDOWN:  // Lustre, whose server has let go of this client
    case EBUSY:
#ifdef EREMOTEIO
    case EREMOTEIO:
#endif
      return Passing::yes;
    default:
      return Passing::no;
  }
#endif
}

std::string utf8(const std::filesystem::path& path) {
  const std::u8string text = path.u8string();
  return std::string(text.begin(), text.end());
}

void InputFile::require(std::uint64_t offset, std::size_t count) const {
  if (offset > size() || count > size() - offset) {
    throw StorageError(name_, "file is truncated: bytes " + std::to_string(offset) + " to " +
                                  std::to_string(offset + count) + " are needed, file has " + std::to_string(size()));
  }
}

bool InputFile::current() const { return stamp_at_path() == stamp_; }

void InputFile::changed(const FileStamp& now) const {
  const bool same = now.index == stamp_.index && now.device == stamp_.device;
  if (same && now.size < stamp_.size) {
    throw StorageError(name_,
                       "file is truncated: it had " + std::to_string(stamp_.size) +
                           " bytes when it was opened, file has " + std::to_string(now.size),
                       Passing::if_it_changes);
  }
  throw StorageError(name_, "file was replaced or changed after it was opened", Passing::if_it_changes);
}

std::uint64_t InputFile::content() const {
  constexpr std::uint64_t kFirst = 4096, kLast = 16384, kPiece = 4096, kPieces = 16;
  const std::uint64_t total = size();
  std::uint64_t result = hash(0xcbf29ce484222325u, &total, sizeof(total));
  std::vector<std::byte> piece(kLast);
  const auto add = [&](std::uint64_t offset, std::uint64_t count) {
    read(offset, piece.data(), static_cast<std::size_t>(count));
    result = hash(result, piece.data(), static_cast<std::size_t>(count));
  };
  if (total <= kFirst + kLast + kPieces * kPiece) {
    for (std::uint64_t at = 0; at < total; at += kLast) add(at, std::min(kLast, total - at));
    return result;
  }
  add(0, kFirst);
  add(total - kLast, kLast);
  const std::uint64_t between = total - kFirst - kLast - kPiece;
  for (std::uint64_t i = 0; i < kPieces; ++i) add(kFirst + between / (kPieces - 1) * i, kPiece);
  return result;
}

void InputFile::reopen(std::optional<std::uint64_t> content) {
  InputFile now(path_, access_);
  if (!content || now.size() != size() || now.content() != *content) changed(now.stamp_);
  std::swap(stamp_, now.stamp_);
  std::swap(data_, now.data_);
  std::swap(handle_, now.handle_);
}

const std::byte* InputFile::bytes(std::uint64_t offset, std::size_t count, std::vector<std::byte>& scratch) const {
  require(offset, count);
  if (data_ != nullptr) return data_ + offset;
#ifdef _GLIBCXX_SANITIZE_VECTOR
  scratch.resize(count);  // so that AddressSanitizer sees what is read beyond the end
#else
  if (scratch.size() < count) scratch.resize(count);
#endif
  read(offset, scratch.data(), count);
  return scratch.data();
}

#ifdef _WIN32

namespace {

std::uint64_t joined(DWORD high, DWORD low) { return (static_cast<std::uint64_t>(high) << 32) | low; }

std::int64_t ticks(const FILETIME& time) {
  return static_cast<std::int64_t>(joined(time.dwHighDateTime, time.dwLowDateTime));
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path, FileAccess access)
    : path_(path), name_(utf8(path)), access_(access) {
  // Deleting and renaming stay allowed to others, as on other systems.
  const HANDLE handle = CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                    nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) {
    const DWORD code = GetLastError();
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) throw StorageError(name_, "is a directory, not a file");
    fail(name_, "cannot be opened", static_cast<int>(code));
  }
  // The destructor does not run for a constructor that throws.
  try {
    BY_HANDLE_FILE_INFORMATION information;
    if (!GetFileInformationByHandle(handle, &information)) {
      fail(name_, "cannot be examined", static_cast<int>(GetLastError()));
    }
    // Size and time alone: the index would need the path to be opened anew at every check.
    stamp_ = {joined(information.nFileSizeHigh, information.nFileSizeLow), 0, 0, ticks(information.ftLastWriteTime)};
  } catch (...) {
    CloseHandle(handle);
    throw;
  }
  handle_ = handle;
}

InputFile::~InputFile() { CloseHandle(handle_); }

namespace {

// 0 and the stamp, or the error's number.
int find_stamp(const std::filesystem::path& path, FileStamp& stamp) {
  WIN32_FILE_ATTRIBUTE_DATA attributes;
  if (!GetFileAttributesExW(path.c_str(), GetFileExInfoStandard, &attributes)) return static_cast<int>(GetLastError());
  stamp = {joined(attributes.nFileSizeHigh, attributes.nFileSizeLow), 0, 0, ticks(attributes.ftLastWriteTime)};
  return 0;
}

}  // namespace

void InputFile::prepare(std::uint64_t offset, std::size_t count) const { require(offset, count); }

void InputFile::let_go() const {}

void InputFile::read(std::uint64_t offset, void* to, std::size_t count) const {
  require(offset, count);
  char* next = static_cast<char*>(to);
  while (count > 0) {
    OVERLAPPED position{};
    position.Offset = static_cast<DWORD>(offset & 0xffffffffu);
    position.OffsetHigh = static_cast<DWORD>(offset >> 32);
    const DWORD wanted = static_cast<DWORD>(std::min<std::size_t>(count, std::size_t{1} << 30));
    DWORD got = 0;
    const BOOL done = ReadFile(handle_, next, wanted, &got, &position);
    if (!done && GetLastError() != ERROR_HANDLE_EOF) fail(name_, "cannot be read", static_cast<int>(GetLastError()));
    if (got == 0) throw StorageError(name_, "file is truncated: it ends at byte " + std::to_string(offset));
    next += got;
    offset += got;
    count -= got;
  }
}

[[maybe_unused]] static void* system_pages(std::size_t bytes) {
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}
[[maybe_unused]] static void release_system_pages(void* memory, std::size_t) { VirtualFree(memory, 0, MEM_RELEASE); }

std::uint64_t process_id() { return GetCurrentProcessId(); }

std::uint64_t thread_id() { return GetCurrentThreadId(); }

int available_cores() {
  // A process in one processor group, the usual case, has a mask; one in several has zero for both.
  DWORD_PTR mine = 0;
  DWORD_PTR all = 0;
  int cores = 0;
  if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &all) && mine != 0) {
    for (; mine != 0; mine &= mine - 1) ++cores;
  } else {
    cores = static_cast<int>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  }
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate{};
  if (QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &rate, sizeof(rate), nullptr) &&
      (rate.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_ENABLE) != 0 &&
      (rate.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP) != 0 && rate.CpuRate > 0) {
    // Hundredths of a percent of the whole machine.
    const double quota = rate.CpuRate / 10000.0 * GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    cores = std::min(cores, static_cast<int>(std::ceil(quota)));
  }
  return std::max(cores, 1);
}

// The system's own limit; the C library's 512 streams do not concern handles.
std::uint64_t open_file_limit() { return std::uint64_t{1} << 24; }

Memory memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof(status);
  if (!GlobalMemoryStatusEx(&status)) return {};
  Memory memory{status.ullTotalPhys, status.ullAvailPhys};
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION job{};
  if (QueryInformationJobObject(nullptr, JobObjectExtendedLimitInformation, &job, sizeof(job), nullptr)) {
    const DWORD flags = job.BasicLimitInformation.LimitFlags;
    if ((flags & JOB_OBJECT_LIMIT_PROCESS_MEMORY) != 0) {
      memory.limit = std::min<std::uint64_t>(memory.limit, job.ProcessMemoryLimit);
    }
    if ((flags & JOB_OBJECT_LIMIT_JOB_MEMORY) != 0) {
      memory.limit = std::min<std::uint64_t>(memory.limit, job.JobMemoryLimit);
    }
    memory.available = std::min(memory.available, memory.limit);
  }
  return memory;
}

std::uint64_t resident_memory() {
  PROCESS_MEMORY_COUNTERS counters{};
  return K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof(counters)) ? counters.WorkingSetSize : 0;
}

ControlGroups control_groups(const std::filesystem::path&) { return {}; }

#else

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

// 0 and the stamp, or the error's number.
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

}  // namespace

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
    fail(name_, "cannot be read", code);
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
  if (handle_ < 0) fail(name_, "cannot be opened", errno);
  // The destructor does not run for a constructor that throws.
  try {
    struct stat status;
    if (::fstat(handle_, &status) != 0) fail(name_, "cannot be examined", errno);
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
      if (data == MAP_FAILED) fail(name_, "cannot be mapped into memory", errno);
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
      fail(name_, "cannot be read", errno);
    }
    if (got == 0) throw StorageError(name_, "file is truncated: it ends at byte " + std::to_string(offset));
    next += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::size_t>(got);
  }
}

[[maybe_unused]] static void* system_pages(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#if defined(MADV_HUGEPAGE)
  // Of volumes, images and batches: a turned row touches more pages than the processor keeps addresses of. Where the
  // system has none, ordinary ones do.
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  if (memory != MAP_FAILED && bytes >= 2 * kHuge) (void)::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory == MAP_FAILED ? nullptr : memory;
}
[[maybe_unused]] static void release_system_pages(void* memory, std::size_t bytes) { ::munmap(memory, bytes); }

std::uint64_t process_id() { return static_cast<std::uint64_t>(::getpid()); }

std::uint64_t thread_id() {
#ifdef __APPLE__
  std::uint64_t number = 0;
  ::pthread_threadid_np(nullptr, &number);
  return number;
#elif defined(__linux__)
  return static_cast<std::uint64_t>(::syscall(SYS_gettid));
#else
  return 0;
#endif
}

namespace {

int cores_by_affinity() {
#ifdef __linux__
  // The kernel refuses a set smaller than its own, whose size it does not tell.
  for (int processors = 1024; processors <= (1 << 20); processors *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(processors));
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(processors));
    const int cores = ::sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (cores > 0) return cores;
  }
#endif
  return static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u));
}

// The first number in a file; absent for "max", for a negative one and for a file that is not there.
std::optional<std::uint64_t> number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::int64_t value = 0;
  if (!(in >> value) || value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

// `key` in a file of "key value" lines.
std::optional<std::uint64_t> number_of(const std::filesystem::path& file, const std::string& key) {
  std::ifstream in(file);
  std::string name;
  std::string value;
  while (in >> name >> value) {
    if (name != key) continue;
    std::istringstream text(value);
    std::uint64_t number = 0;
    if (text >> number) return number;
    return std::nullopt;
  }
  return std::nullopt;
}

template <typename T>
void lower(std::optional<T>& least, T value) {
  if (!least || value < *least) least = value;
}

// Page cache can be taken back at need and so does not count as used.
void add_memory(ControlGroups& groups, std::optional<std::uint64_t> limit, std::optional<std::uint64_t> used,
                std::optional<std::uint64_t> cache) {
  // Version 1 writes "no limit" as a number near 2^63.
  if (!limit || *limit >= (std::uint64_t{1} << 60)) return;
  lower(groups.memory_limit, *limit);
  if (!used) return;
  const std::uint64_t taken = *used - std::min(*used, cache.value_or(0));
  lower(groups.memory_available, *limit - std::min(*limit, taken));
}

void add_cores(ControlGroups& groups, std::optional<std::uint64_t> quota, std::optional<std::uint64_t> period) {
  if (!quota || !period || *quota == 0 || *period == 0) return;
  lower(groups.cores, static_cast<double>(*quota) / static_cast<double>(*period));
}

void add_version_1(ControlGroups& groups, const std::filesystem::path& folder, bool with_memory, bool with_cores) {
  if (with_memory) {
    add_memory(groups, number_in(folder / "memory.limit_in_bytes"), number_in(folder / "memory.usage_in_bytes"),
               number_of(folder / "memory.stat", "total_inactive_file"));
  }
  if (with_cores) {
    add_cores(groups, number_in(folder / "cpu.cfs_quota_us"), number_in(folder / "cpu.cfs_period_us"));
  }
}

void add_version_2(ControlGroups& groups, const std::filesystem::path& folder) {
  // Beyond memory.high a group is slowed down until it has given back: for us that is no more to be had.
  for (const char* limit : {"memory.max", "memory.high"}) {
    add_memory(groups, number_in(folder / limit), number_in(folder / "memory.current"),
               number_of(folder / "memory.stat", "inactive_file"));
  }
  std::ifstream in(folder / "cpu.max");
  std::uint64_t quota = 0;
  std::uint64_t period = 0;
  if (in >> quota >> period) add_cores(groups, quota, period);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& parts, const std::string& part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

}  // namespace

ControlGroups control_groups(const std::filesystem::path& root) {
  ControlGroups groups;
  // "5:cpu,cpuacct:/a/b" for version 1, "0::/a/b" for version 2
  struct Membership {
    std::vector<std::string> controllers;
    std::string path;
  };
  std::vector<Membership> memberships;
  std::ifstream own(root / "proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    memberships.push_back({split(line.substr(first + 1, second - first - 1), ','), line.substr(second + 1)});
  }

  // "32 31 0:29 ROOT MOUNTPOINT options ... - cgroup cgroup rw,memory". ROOT is the group that the mount shows, which
  // in a container may be the container's own.
  std::ifstream mounts(root / "proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 4) continue;
    const std::string& type = dash[1];
    if (type != "cgroup" && type != "cgroup2") continue;
    const std::vector<std::string> options = split(dash[3], ',');
    const bool version_2 = type == "cgroup2";
    const bool with_memory = version_2 || contains(options, "memory");
    const bool with_cores = version_2 || contains(options, "cpu");
    if (!with_memory && !with_cores) continue;

    for (const Membership& membership : memberships) {
      const bool matches = version_2 ? membership.controllers.empty()
                                     : (with_memory && contains(membership.controllers, "memory")) ||
                                           (with_cores && contains(membership.controllers, "cpu"));
      if (!matches) continue;
      std::string inside = membership.path;
      const std::string& shown = fields[3];
      if (shown != "/" && inside.compare(0, shown.size(), shown) == 0) inside.erase(0, shown.size());
      const std::filesystem::path mount = root / std::filesystem::path(fields[4]).relative_path();
      std::filesystem::path folder = mount / std::filesystem::path(inside).relative_path();
      // A path that this mount does not show (a namespace's view of it) leaves the mount itself.
      std::error_code ignored;
      if (!std::filesystem::is_directory(folder, ignored)) folder = mount;
      // A group is held by every limit above it.
      for (;;) {
        if (version_2) {
          add_version_2(groups, folder);
        } else {
          add_version_1(groups, folder, with_memory, with_cores);
        }
        if (folder == mount || !folder.has_relative_path() || folder == folder.parent_path()) break;
        folder = folder.parent_path();
      }
    }
  }
  return groups;
}

int available_cores() {
  int cores = cores_by_affinity();
  const std::optional<double> quota = control_groups().cores;
  if (quota) cores = std::min(cores, static_cast<int>(std::ceil(std::min(*quota, 1e6))));
  return std::max(cores, 1);
}

std::uint64_t open_file_limit() {
  struct rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  return limit.rlim_cur == RLIM_INFINITY ? std::uint64_t{1} << 24 : static_cast<std::uint64_t>(limit.rlim_cur);
}

Memory memory() {
  Memory memory;
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) memory.limit = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  memory.available = memory.limit;
#ifdef __linux__
  // In KiB, as "MemAvailable:   1234 kB".
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream text(line);
    std::string key;
    std::uint64_t kib = 0;
    if (text >> key >> kib && key == "MemAvailable:") memory.available = std::min(memory.limit, kib * 1024);
  }
  const ControlGroups groups = control_groups();
  if (groups.memory_limit) memory.limit = std::min(memory.limit, *groups.memory_limit);
  memory.available = std::min(memory.available, groups.memory_available.value_or(memory.limit));
#endif
  return memory;
}

std::uint64_t resident_memory() {
#ifdef __APPLE__
  mach_task_basic_info info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const auto result = task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info), &count);
  return result == KERN_SUCCESS ? info.resident_size : 0;
#else
  // Pages: all of the address space, then what is resident.
  std::ifstream in("/proc/self/statm");
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  const long page = ::sysconf(_SC_PAGESIZE);
  return in >> pages >> resident && page > 0 ? resident * static_cast<std::uint64_t>(page) : 0;
#endif
}

#endif

std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  FileStamp stamp;
  if (find_stamp(path, stamp) != 0) return std::nullopt;
  return stamp;
}

FileStamp InputFile::stamp_at_path() const {
  FileStamp stamp;
  const int code = find_stamp(path_, stamp);
  if (code == 0) return stamp;
  const bool gone = passing(code) == Passing::if_it_was_there;
  const std::string reason = gone ? "file is gone since it was opened: " : "cannot be examined: ";
  throw StorageError(name_, reason + std::system_category().message(code), gone ? Passing::yes : passing(code));
}

namespace {

std::atomic<std::uint64_t> requests{0};

}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FASTNNUNET_ADDRESS_SANITIZER
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(FASTNNUNET_ADDRESS_SANITIZER)
// So that reading or writing beyond its end is seen.
void* take_pages(std::size_t bytes) {
  ++requests;
  return ::operator new(bytes, std::align_val_t{4096});
}
void give_pages(void* memory, std::size_t) noexcept { ::operator delete(memory, std::align_val_t{4096}); }
#else
void* take_pages(std::size_t bytes) {
  ++requests;
  void* memory = system_pages(std::max<std::size_t>(bytes, 1));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void give_pages(void* memory, std::size_t bytes) noexcept {
  release_system_pages(memory, std::max<std::size_t>(bytes, 1));
}
#endif
std::uint64_t page_requests() { return requests; }

}  // namespace fastnnunet
