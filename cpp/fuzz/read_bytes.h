// What the fuzzers and the replay of their corpus do with bytes: the whole way that a loader goes, from opening a file
// to boxes of voxels inside, across and outside of the image. Every check here holds for any bytes whatever.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/platform/process.h"
#include "fastnnunet/storage/cache/volume_cache.h"
#include "fastnnunet/storage/formats.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::fuzzing {

// A reader did what no file may make it do. Not caught here: it ends a fuzzer, and fails a test.
class BrokenPromise : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

inline void require(bool kept, const char* promise) {
  if (!kept) throw BrokenPromise(promise);
}

// A region of at most 24 voxels on each axis, whatever the file says that its image has.
inline Box corner(const Index3& shape, bool upper) {
  Box box;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t size = std::min<std::int64_t>(shape[axis], 24);
    box.lower[axis] = upper ? shape[axis] - size : 0;
    box.upper[axis] = box.lower[axis] + size;
  }
  return box;
}

// Inside, across the borders, and wholly outside.
inline std::vector<Box> boxes_of(const Index3& shape) {
  const Box low = corner(shape, false);
  const Box high = corner(shape, true);
  const Index3 middle = {shape[0] / 2, shape[1] / 2, shape[2] / 2};
  return {low,
          high,
          low.shifted({-5, -3, -1}),
          high.shifted({1, 3, 5}),
          {middle, {middle[0] + 1, middle[1] + 1, middle[2] + 1}},
          {{-9, -9, -9}, {-2, 3, 3}},
          {{shape[0], 0, 0}, {shape[0] + 2, 2, 2}}};
}

// Channel `channel` of `box`. Whether it could be read; if so every voxel is written, and none beyond them.
template <typename T>
bool read_box(Volume& volume, std::int64_t channel, const Box& box, std::vector<T>& out) {
  const auto count = static_cast<std::size_t>(voxels(box.shape()));
  out = std::vector<T>(count);  // of exactly this size, so that AddressSanitizer sees one voxel too many
  try {
    volume.read(channel, box, out.data(), T{-1});
  } catch (const StorageError& error) {
    require(!error.file().empty() && !error.reason().empty(), "an error names the file and the reason");
    return false;
  }
  const Box inside = box.intersect(Box::of_shape(volume.shape()));
  if (inside.empty()) {
    require(std::all_of(out.begin(), out.end(), [](T value) { return value == T{-1}; }), "outside is filled");
  }
  return true;
}

template <typename T>
bool equal(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// The same out of the cache. False too where it has no room; a block is read with all channels, so with a damaged one
// none can be read.
inline bool read_cached(storage::VolumeCache& cache, Volume& volume, std::int64_t channel, const Box& box,
                        std::vector<float>& out) {
  out = std::vector<float>(static_cast<std::size_t>(voxels(box.shape())));
  storage::CachedVolume<float>* cached = cache.find<float>(3, volume);
  try {
    if (cached == nullptr || !cached->provide(volume, box.intersect(Box::of_shape(volume.shape())))) return false;
  } catch (const StorageError& error) {
    require(!error.file().empty() && !error.reason().empty(), "an error names the file and the reason");
    return false;
  }
  cached->copy(channel, box, out.data(), -1.0f);
  return true;
}

// Reads all over an open file. Whether every box could be read.
inline bool read_boxes(Volume& volume) {
  require(volume.channels() > 0, "an image has channels");
  for (const std::int64_t axis : volume.shape()) require(axis > 0, "an image has voxels");
  bool whole = true;
  storage::VolumeCache cache(std::size_t{1} << 22);
  std::vector<float> image;
  std::vector<float> again;
  std::vector<std::int16_t> labels;
  const std::int64_t last = volume.channels() - 1;
  for (const Box& box : boxes_of(volume.shape())) {
    const bool readable = read_box(volume, last, box, image);
    whole = read_box(volume, 0, box, labels) && readable && whole;
    // What is kept is what is read; the second time it is kept already.
    for (int time = 0; time < 2; ++time)
      if (read_cached(cache, volume, last, box, again))
        require(readable && equal(image, again), "a box is the same with and without the cache");
    const auto count = static_cast<std::size_t>(voxels(box.shape()));
    if (last < 16) {
      again = std::vector<float>(count * static_cast<std::size_t>(last + 1));
      try {
        volume.read_channels(box, again.data(), -1.0f);
        const std::vector<float> part(again.end() - static_cast<std::ptrdiff_t>(count), again.end());
        require(readable && equal(part, image), "all channels are the channels one after the other");
      } catch (const StorageError&) {
        whole = false;
      }
    }
  }
  for (const std::int64_t channel : {std::int64_t{-1}, volume.channels()}) {
    bool refused = false;
    try {
      read_box(volume, channel, corner(volume.shape(), false), image);
    } catch (const InvalidArgument&) {
      refused = true;
    }
    require(refused, "a channel that is not there is refused");
  }
  require(volume.memory() < std::size_t{512} << 20, "a handle keeps what its budget can count");
  return whole;
}

// A file in the folder for temporary ones, removed with this object.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& ending)
      : path_(std::filesystem::temp_directory_path() /
              ("fastnnunet-fuzz-" + std::to_string(platform::process_id()) + ending)) {}
  ~ScratchFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view bytes) const {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) throw std::runtime_error("cannot write " + path_.string());
  }

 private:
  std::filesystem::path path_;
};

// Writes the bytes to the file and opens it as a loader does. Whether all of it could be read.
template <typename Open>
bool read_file(std::string_view bytes, const ScratchFile& file, Open open) {
  file.write(bytes);
  try {
    const std::unique_ptr<Volume> volume = open(file.path());
    return read_boxes(*volume);
  } catch (const StorageError& error) {
    require(!error.file().empty() && !error.reason().empty(), "an error names the file and the reason");
    return false;
  }
}

inline bool read_b2nd(std::string_view bytes) {
  static const ScratchFile file(".b2nd");
  return read_file(bytes, file, [](const std::filesystem::path& path) { return storage::open_b2nd(path); });
}

inline bool read_npy(std::string_view bytes) {
  static const ScratchFile file(".npy");
  return read_file(bytes, file, [](const std::filesystem::path& path) { return storage::open_npy(path); });
}

inline bool read_npz(std::string_view bytes) {
  static const ScratchFile file(".npz");
  return read_file(bytes, file, [](const std::filesystem::path& path) { return storage::open_npz(path, "data"); });
}

}  // namespace fastnnunet::fuzzing
