// The files that the samples of a loader are read from: opened when they are needed, and with the loader's patience.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "fastnnunet/engine/loader/lock.h"
#include "fastnnunet/engine/loader/options.h"
#include "fastnnunet/engine/patience.h"
#include "fastnnunet/sample/activity.h"
#include "fastnnunet/storage/cache/known_files.h"
#include "fastnnunet/storage/cache/open_volumes.h"

namespace fastnnunet::engine {

// Of all cases. Every thread has handles of its own, and all of them read the same content.
class LoaderFiles {
 public:
  LoaderFiles(const LoaderOptions& options, LoaderLock& lock) : options_(options), lock_(lock) {}

  const CaseFiles& of_case(std::size_t number) const { return options_.cases[number]; }
  storage::KnownFiles& known() { return known_; }
  Attempts::Clock::duration patience() const;

  // A thread's handle of a file, with the content that all threads know. Reads do not check it again in this sample.
  // Throws StorageError.
  Volume& open(storage::OpenVolumes& handles, std::size_t number, int which);

  // Whether a file may be elsewhere the next time that it is opened.
  bool has_places() const { return static_cast<bool>(options_.places); }

  // The same of any handles, with whatever content. Throws StorageError.
  Volume& get(storage::OpenVolumes& handles, std::size_t number, int which) const;

  // Waits before something is tried again. Throws ClosedError where the sample is not wanted any more.
  void wait(sample::Activity& activity, const StorageError& error, Attempts::Clock::duration pause,
            const Wanted& wanted);

 private:
  const LoaderOptions& options_;
  LoaderLock& lock_;
  storage::KnownFiles known_;
};

// Of one sample, in one thread.
class TaskFiles final : public SampleFiles {
 public:
  void begin(LoaderFiles& files, storage::OpenVolumes& handles, sample::Activity& activity, std::size_t number,
             const Wanted& wanted);

  Volume& volume(int which) override;
  std::string name(int which) const override;
  bool wait(const StorageError& error, Attempts& attempts) override;
  // What is known of a file, which is opened for that the first time. Throws StorageError.
  const VolumeFacts& facts(int which);
  // Whether the last error came after all patience.
  bool gave_up() const { return gave_up_; }

 private:
  LoaderFiles* files_ = nullptr;
  storage::OpenVolumes* handles_ = nullptr;
  sample::Activity* activity_ = nullptr;
  std::size_t number_ = 0;
  Wanted wanted_;
  std::array<Volume*, CaseFiles::kVolumes> opened_{};
  bool gave_up_ = false;
};

}  // namespace fastnnunet::engine
