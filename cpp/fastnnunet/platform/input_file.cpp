#include "fastnnunet/platform/input_file.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/system_errors.h"

namespace fastnnunet::platform {

namespace {

// FNV-1a, which is not cryptographic.
std::uint64_t hash(std::uint64_t so_far, const void* bytes, std::size_t count) {
  const auto* next = static_cast<const unsigned char*>(bytes);
  for (std::size_t i = 0; i < count; ++i) so_far = (so_far ^ next[i]) * 0x100000001b3u;
  return so_far;
}

}  // namespace

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

void InputFile::read(std::uint64_t offset, void* to, std::size_t count) const {
  require(offset, count);
  if (in_parts() && !is_there({offset, offset + count})) {
    std::vector<ByteRange> range{{offset, offset + count}};
    fetch(range);
  }
  read_here(offset, to, count);
}

bool InputFile::is_there(const ByteRange& range) const {
  if (range.begin >= range.end) return true;
  const std::uint64_t piece = parts_->piece;
  const std::uint64_t map = (parts_->size + piece - 1) / piece * piece;
  const std::uint64_t end = (range.end - 1) / piece + 1;
  std::array<std::byte, 256> noted;
  for (std::uint64_t at = range.begin / piece; at < end;) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(end - at, noted.size()));
    read_here(map + at, noted.data(), count);
    if (std::any_of(noted.begin(), noted.begin() + static_cast<std::ptrdiff_t>(count),
                    [](std::byte one) { return one != std::byte{1}; }))
      return false;
    at += count;
  }
  return true;
}

void InputFile::fetch(std::vector<ByteRange>& ranges) const {
  if (!in_parts()) return;
  std::erase_if(ranges, [&](const ByteRange& range) { return is_there(range); });
  if (ranges.empty()) return;
  parts_->fetch(ranges);
  // The path may lead to another file by now, which then has them.
  for (const ByteRange& range : ranges)
    if (!is_there(range)) throw StorageError(name_, "file was replaced while parts of it were fetched", Passing::yes);
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
  if (parts_) return parts_->content;
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
  InputFile now(path_, parts_);
  if (!content || now.size() != size() || now.content() != *content) changed(now.stamp_);
  std::swap(stamp_, now.stamp_);
  std::swap(handle_, now.handle_);
}

const std::byte* InputFile::bytes(std::uint64_t offset, std::size_t count, std::vector<std::byte>& scratch) const {
  require(offset, count);
#ifdef _GLIBCXX_SANITIZE_VECTOR
  scratch.resize(count);  // so that AddressSanitizer sees what is read beyond the end
#else
  if (scratch.size() < count) scratch.resize(count);
#endif
  read(offset, scratch.data(), count);
  return scratch.data();
}
std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  FileStamp stamp;
  if (find_stamp(path, stamp) != 0) return std::nullopt;
  return stamp;
}

FileStamp InputFile::stamp_at_path() const {
  FileStamp stamp;
  const int code = find_stamp(path_, stamp);
  if (code == 0) {
    if (parts_) stamp.modified = 0;  // parts are written into it
    return stamp;
  }
  const bool gone = passing(code) == Passing::if_it_was_there;
  const std::string reason = gone ? "file is gone since it was opened: " : "cannot be examined: ";
  throw StorageError(name_, reason + std::system_category().message(code), gone ? Passing::yes : passing(code));
}

}  // namespace fastnnunet::platform
