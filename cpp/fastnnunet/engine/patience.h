// Files on disks and file servers that do not answer for a while: what is tried again, and for how long.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::engine {

// Of one thing that is tried until it is done.
struct Attempts {
  using Clock = std::chrono::steady_clock;

  // How long to wait before it is tried again after this error; none where it is not to be. A file that is missing, and
  // never was there, is not waited for, nor is one with other content, once it is still.
  std::optional<Clock::duration> pause_after(const StorageError& error, Clock::duration patience);

  std::optional<Clock::time_point> first;  // error
  Clock::duration pause = std::chrono::milliseconds(50);
  std::optional<platform::FileStamp> seen;  // of a file with other content
};

// The files of one sample. They are opened when they are first needed.
class SampleFiles {
 public:
  virtual ~SampleFiles() = default;

  // The calling thread's handle: 0 is the image, 1 the segmentation, 2 the previous stage's. Throws StorageError.
  virtual Volume& volume(int which) = 0;
  // Its name for messages, UTF-8; nothing is opened for it.
  virtual std::string name(int which) const = 0;
  // Waits, and says whether to try again then. Throws ClosedError where the sample is not wanted any more.
  virtual bool wait(const StorageError& error, Attempts& attempts) = 0;

  // `work()`, again and again while its errors may pass. It must do the same each time.
  template <typename Work>
  auto patiently(Work&& work) {
    Attempts attempts;
    for (;;) {
      try {
        return work();
      } catch (const StorageError& error) {
        if (!wait(error, attempts)) throw;
      }
    }
  }
};

}  // namespace fastnnunet::engine
