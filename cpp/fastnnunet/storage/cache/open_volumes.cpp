#include "fastnnunet/storage/cache/open_volumes.h"

#include <algorithm>
#include <utility>

#include "fastnnunet/base/error.h"

namespace fastnnunet::storage {

std::size_t OpenVolumes::Hash::operator()(const KeyView& key) const {
  const std::size_t file = std::hash<std::filesystem::path::string_type>()(key.file.native());
  return file * 31 + std::hash<std::string>()(key.member);
}

OpenVolumes::OpenVolumes(std::size_t limit, std::size_t memory)
    : limit_(std::max<std::size_t>(limit, 1)), memory_limit_(memory) {}

Volume& OpenVolumes::get(const std::filesystem::path& file, const std::string& member,
                         const std::function<FilePlace()>& place) {
  if (const auto found = by_key_.find(KeyView{file, member}); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return *entries_.front().volume;
  }
  const FilePlace found_at = place ? place() : FilePlace(file);
  // Room first: with the limit at the system's own, opening would fail.
  while (entries_.size() >= limit_) close_last();
  while (entries_.size() >= kOfOneSample && memory() > memory_limit_) close_last();
  std::unique_ptr<Volume> volume;
  try {
    volume = open_volume(found_at, member);
  } catch (const ResourceError&) {
    // Others may have taken what was left. This sample's own files stay.
    if (entries_.size() < kOfOneSample) throw;
    while (entries_.size() >= kOfOneSample) close_last();
    volume = open_volume(found_at, member);
  }
  entries_.push_front({{file, member}, std::move(volume)});
  by_key_.emplace(entries_.front().key, entries_.begin());
  return *entries_.front().volume;
}

void OpenVolumes::close_last() { close(entries_.back().key.file, entries_.back().key.member); }

void OpenVolumes::close(const std::filesystem::path& file, const std::string& member) {
  const auto found = by_key_.find(KeyView{file, member});
  if (found == by_key_.end()) return;
  const auto entry = found->second;
  bytes_read_of_closed_ += entry->volume->bytes_read();
  by_key_.erase(found);  // before what the names may be those of
  entries_.erase(entry);
}

void OpenVolumes::clear() {
  bytes_read_of_closed_ = bytes_read();
  by_key_.clear();
  entries_.clear();
}

std::size_t OpenVolumes::size() const { return entries_.size(); }

std::size_t OpenVolumes::memory() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.volume->memory();
  return bytes;
}

std::uint64_t OpenVolumes::bytes_read() const {
  std::uint64_t bytes = bytes_read_of_closed_;
  for (const Entry& entry : entries_) bytes += entry.volume->bytes_read();
  return bytes;
}

}  // namespace fastnnunet::storage
