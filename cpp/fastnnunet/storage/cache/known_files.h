// What is known of the files of a loader, whichever thread has opened them: so that what is in memory needs no file,
// and that all threads read the same content.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "fastnnunet/base/mutex.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::storage {

class KnownFiles {
 public:
  // Null where the file was never opened. It stays where it is for as long as this exists.
  const VolumeFacts* find(std::uint32_t file) const;

  // Takes note of what a thread has opened as file number `file`, or makes sure that it has the content that is known.
  // The first time the file is verified (Volume::verify). Throws StorageError.
  const VolumeFacts& admit(std::uint32_t file, Volume& volume);

  // A file that is no volume was read.
  void saw(std::uint32_t file);
  // Whether a file was there once.
  bool was_there(std::uint32_t file) const;

 private:
  struct Known {
    VolumeFacts facts;
    platform::FileStamp stamp;  // of the handle that came last
    std::uint64_t content;
  };
  mutable base::Mutex mutex_;
  std::unordered_map<std::uint32_t, Known> files_ FASTNNUNET_GUARDED_BY(mutex_);
  std::unordered_set<std::uint32_t> seen_ FASTNNUNET_GUARDED_BY(mutex_);
};

}  // namespace fastnnunet::storage
