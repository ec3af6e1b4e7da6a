#include "fastnnunet/engine/loader/task_files.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet::engine {
namespace {

// Whether the file is still at its path. It is not checked again in this sample.
bool still_there(Volume& volume) {
  try {
    volume.check();
    return true;
  } catch (const StorageError&) {
    return false;
  }
}

}  // namespace

Attempts::Clock::duration LoaderFiles::patience() const {
  // Capped so that it fits the clock's ticks.
  return std::chrono::duration_cast<Attempts::Clock::duration>(
      std::min(options_.patience, std::chrono::duration<double>(3e9)));
}

Volume& LoaderFiles::open(storage::OpenVolumes& handles, std::size_t number, int which) {
  const std::uint32_t file = file_number(number, which);
  const auto close = [&] {
    const auto [path, member] = of_case(number).volume(which);
    // A case whose previous stage is its own segmentation has one handle for both, and it may be in use.
    for (int other = 0; other < CaseFiles::kVolumes; ++other)
      if (const auto [its, its_member] = of_case(number).volume(other);
          other != which && *its == *path && *its_member == *member)
        return;
    handles.close(*path, *member);
  };
  // Another loader of this thread may have opened the file before it was replaced.
  if (known_.find(file) == nullptr) close();
  for (bool first = true;; first = false) {
    try {
      Volume* volume = &get(handles, number, which);
      volume->check_once();
      // A copy may have been removed for others since it was opened. The next one is asked for, not waited for.
      if (options_.places && !still_there(*volume)) {
        close();
        volume = &get(handles, number, which);
        volume->check_once();
      }
      known_.admit(file, *volume);
      return *volume;
    } catch (const StorageError& error) {
      // Another handle may have the right content.
      if (error.passing() != Passing::no) close();
      if (first && error.passing() == Passing::if_it_changes) continue;
      if (!known_.was_there(file) || dynamic_cast<const ResourceError*>(&error) != nullptr) throw;
      if (error.passing() == Passing::if_it_was_there) throw StorageError(error.file(), error.reason(), Passing::yes);
      // It was good: what is wrong with it now may be that it is not all there yet.
      if (error.passing() == Passing::no) throw StorageError(error.file(), error.reason(), Passing::if_it_changes);
      throw;
    }
  }
}

Volume& LoaderFiles::get(storage::OpenVolumes& handles, std::size_t number, int which) const {
  const auto [path, member] = of_case(number).volume(which);
  if (!options_.places) return handles.get(*path, *member);
  const auto place = [&] { return options_.places(number, which); };
  return handles.get(*path, *member, std::cref(place));  // a reference: the function itself would need memory
}

void LoaderFiles::wait(sample::Activity& activity, const StorageError& error, Attempts::Clock::duration pause,
                       const Wanted& wanted) {
  const std::string_view before = activity.enter("waiting for the file server", error.file() + ": " + error.reason());
  const auto deadline = base::Condition::Clock::now() + pause;
  bool stop = false;
  {
    base::MutexLock lock(lock_.mutex);
    while (lock_.wants(wanted) && lock_.changed.wait_until(lock, deadline)) continue;
    stop = !lock_.wants(wanted);
  }
  activity.enter(before);
  if (stop)
    throw ClosedError("loader", "a loader that stays open while " + error.file() + " is waited for",
                      "one that was closed or set to another step");
}

void TaskFiles::begin(LoaderFiles& files, storage::OpenVolumes& handles, sample::Activity& activity, std::size_t number,
                      const Wanted& wanted) {
  files_ = &files;
  handles_ = &handles;
  activity_ = &activity;
  number_ = number;
  wanted_ = wanted;
  opened_ = {};
  gave_up_ = false;
}

Volume& TaskFiles::volume(int which) {
  Volume*& opened = opened_[static_cast<std::size_t>(which)];
  if (opened == nullptr) opened = &files_->open(*handles_, number_, which);
  return *opened;
}

std::string TaskFiles::name(int which) const { return platform::utf8(*files_->of_case(number_).volume(which).first); }

bool TaskFiles::wait(const StorageError& error, Attempts& attempts) {
  const auto pause = attempts.pause_after(error, files_->patience());
  gave_up_ = !pause && error.passing() == Passing::yes && files_->patience().count() > 0;
  if (pause && files_->has_places()) {
    // The next time the case may have others; and copies that were removed for others take room while they are open.
    handles_->clear();
    opened_ = {};
  }
  if (pause) files_->wait(*activity_, error, *pause, wanted_);
  return pause.has_value();
}

const VolumeFacts& TaskFiles::facts(int which) {
  const std::uint32_t file = file_number(number_, which);
  const VolumeFacts* known = files_->known().find(file);
  if (known == nullptr) {
    patiently([&] { volume(which); });
    known = files_->known().find(file);
  }
  return *known;
}

}  // namespace fastnnunet::engine
