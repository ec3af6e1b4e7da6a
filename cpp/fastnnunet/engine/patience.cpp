#include "fastnnunet/engine/patience.h"

#include <algorithm>
#include <filesystem>
#include <string>

namespace fastnnunet::engine {

std::optional<Attempts::Clock::duration> Attempts::pause_after(const StorageError& error, Clock::duration patience) {
  if (error.passing() == Passing::no || error.passing() == Passing::if_it_was_there) return std::nullopt;
  const Clock::time_point now = Clock::now();
  if (!first) first = now;
  const Clock::duration left = patience - (now - *first);
  if (left <= Clock::duration::zero()) return std::nullopt;
  if (error.passing() == Passing::if_it_changes) {
    const std::filesystem::path path(std::u8string(error.file().begin(), error.file().end()));
    const std::optional<platform::FileStamp> stamp = platform::stamp_of(path);
    if (stamp && stamp == seen) return std::nullopt;
    seen = stamp;
    return std::min<Clock::duration>(left, std::chrono::seconds(1));
  }
  const Clock::duration result = std::min(left, pause);
  pause = std::min<Clock::duration>(2 * pause, std::chrono::seconds(2));
  return result;
}

}  // namespace fastnnunet::engine
