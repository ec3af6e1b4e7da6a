#include "fastnnunet/storage/cache/known_files.h"

#include "fastnnunet/base/error.h"

namespace fastnnunet::storage {

const VolumeFacts* KnownFiles::find(std::uint32_t file) const {
  const base::MutexLock lock(mutex_);
  const auto found = files_.find(file);
  return found != files_.end() ? &found->second.facts : nullptr;
}

const VolumeFacts& KnownFiles::admit(std::uint32_t file, Volume& volume) {
  bool is_new;
  {
    const base::MutexLock lock(mutex_);
    const auto found = files_.find(file);
    is_new = found == files_.end();
    if (!is_new && found->second.stamp == volume.stamp()) {
      volume.take_content(found->second.content);  // which saves reading it
      return found->second.facts;
    }
  }
  // Outside of the lock: these read.
  if (is_new) volume.verify();
  const std::uint64_t content = volume.content();
  const base::MutexLock lock(mutex_);
  Known& known = files_.try_emplace(file, Known{volume.facts(), volume.stamp(), content}).first->second;
  if (known.content != content || known.facts != volume.facts()) {
    throw StorageError(volume.file(), "file was replaced or changed after it was opened", Passing::if_it_changes);
  }
  known.stamp = volume.stamp();
  return known.facts;
}

void KnownFiles::saw(std::uint32_t file) {
  const base::MutexLock lock(mutex_);
  seen_.insert(file);
}

bool KnownFiles::was_there(std::uint32_t file) const {
  const base::MutexLock lock(mutex_);
  return files_.contains(file) || seen_.contains(file);
}

}  // namespace fastnnunet::storage
