// A volume is one open file: an image (C, X, Y, Z), a segmentation (1, X, Y, Z) or a previous stage's segmentation (X,
// Y, Z). It hands out boxes of voxels and never more of the file than these need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fastnnunet/base/api.h"
#include "fastnnunet/base/box.h"
#include "fastnnunet/platform/file_place.h"

namespace fastnnunet {

namespace platform {
struct FileStamp;
}

// How the voxels of a file are packed along X, Y and Z: a block is what is decompressed as a whole, and blocks begin
// anew with every chunk.
struct Tiling {
  Index3 chunk;
  Index3 block;
  bool operator==(const Tiling&) const = default;
};

// What there is to know of a file's voxels without the file.
struct VolumeFacts {
  std::int64_t channels = 0;
  Index3 shape{};
  std::optional<Tiling> tiling;  // none where voxels are not compressed
  bool operator==(const VolumeFacts&) const = default;
};

// From a voxel to its neighbours in a buffer, in voxels; along Z they lie side by side.
struct Steps {
  std::int64_t channel;
  std::int64_t plane;  // along X
  std::int64_t row;    // along Y
};

class FASTNNUNET_API Volume {
 public:
  virtual ~Volume() = default;

  const std::string& file() const { return file_; }  // UTF-8, for messages
  std::int64_t channels() const { return channels_; }
  const Index3& shape() const { return shape_; }

  // Writes channel `channel` of `box` to `out`, (X, Y, Z) of the box's shape, C-contiguous. Voxels of the box that lie
  // outside the image become `outside`. Throws StorageError with the file and the reason.
  virtual void read(std::int64_t channel, const Box& box, float* out, float outside) = 0;
  virtual void read(std::int64_t channel, const Box& box, std::int16_t* out, std::int16_t outside) = 0;

  // Every channel of `box` to `out`, (C, X, Y, Z), C-contiguous. One pass over the file: a block that holds several
  // channels is decompressed once.
  virtual void read_channels(const Box& box, float* out, float outside) = 0;
  virtual void read_channels(const Box& box, std::int16_t* out, std::int16_t outside) = 0;

  // The same for a box inside the image, into a part of a larger buffer. `corner`: of the box, in its first channel.
  virtual void read_channels(const Box& box, float* corner, const Steps& steps) = 0;
  virtual void read_channels(const Box& box, std::int16_t* corner, const Steps& steps) = 0;

  // Of a file that is there in parts: brings what reading `box` needs, all channels of it, with few requests. Reading
  // without that requests block after block. Throws StorageError.
  virtual void fetch(const Box& box) { static_cast<void>(box); }

  // None where voxels are not compressed.
  virtual std::optional<Tiling> tiling() const { return std::nullopt; }

  VolumeFacts facts() const { return {channels_, shape_, tiling()}; }

  // Makes sure that the file still has the content that it was opened with, which every read begins with. Where it was
  // touched, moved or replaced it is opened anew; with other content, or with content() never asked for before, that is
  // a StorageError.
  virtual void check() = 0;
  // From now on reads do not check the file, but for the next one. Whoever reads several boxes for one thing calls this
  // before.
  virtual void check_once() = 0;

  // As InputFile::content(), read when it is first asked for, or what is known of it already.
  virtual std::uint64_t content() = 0;
  virtual void take_content(std::uint64_t content) = 0;
  virtual const platform::FileStamp& stamp() const = 0;

  // Reads all that tells of damage, where the format has such a thing and reads do not come upon it: the checksum of a
  // deflated member of an .npz. Throws StorageError.
  virtual void verify() {}

  // Memory that this handle keeps between reads (headers, chunk offsets, scratch), without the operating system's
  // cache.
  virtual std::size_t memory() const = 0;
  // Bytes taken from the file so far (compressed where the file is).
  virtual std::uint64_t bytes_read() const = 0;

 protected:
  Volume(std::string file, std::int64_t channels, Index3 shape)
      : file_(std::move(file)), channels_(channels), shape_(shape) {}

 private:
  std::string file_;
  std::int64_t channels_;
  Index3 shape_;
};

// Opens .b2nd, .npy or .npz by its ending. `member` names the array inside an .npz ("data" or "seg"); the others ignore
// it. A handle belongs to one thread at a time. Throws StorageError.
FASTNNUNET_API std::unique_ptr<Volume> open_volume(const std::filesystem::path& file, const std::string& member);
// The same, also of a .b2nd file that is there in parts.
FASTNNUNET_API std::unique_ptr<Volume> open_volume(const FilePlace& place, const std::string& member);

}  // namespace fastnnunet
