// What the three formats share: the check of the request, the voxels outside the image, and the type that is asked for.
// A format writes the voxels that are inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/element.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::storage {

// Where the voxels of a region go: rows along Z of a (C, X, Y, Z) buffer of float32 or int16.
class VoxelWriter {
 public:
  // `first` is the voxel at the region's lower corner.
  template <typename T>
  VoxelWriter(Element stored, T* first, const Steps& steps);

  bool same_type() const { return same_type_; }

  // Voxel (c, x, y, z), counted from the region's lower corner.
  std::byte* at(std::int64_t c, std::int64_t x, std::int64_t y, std::int64_t z) const {
    return first_ + (c * steps_.channel + x * steps_.plane + y * steps_.row + z) * voxel_;
  }
  // Whether a block of (x, y, z) voxels lies without gaps in the buffer.
  bool contiguous(const Index3& block) const {
    const bool rows_meet = block[1] == 1 || block[2] == steps_.row;
    const bool planes_meet = block[0] == 1 || block[1] * block[2] == steps_.plane;
    return rows_meet && planes_meet;
  }
  // `count` stored voxels, `step` bytes apart, converted to `to`.
  void write(const std::byte* from, std::ptrdiff_t step, std::byte* to, std::int64_t count) const {
    write_(*this, from, step, to, count);
  }
  // `count` times the stored voxel at `from`.
  void fill(const std::byte* from, std::byte* to, std::int64_t count) const { write_(*this, from, 0, to, count); }

 private:
  template <typename T>
  static void write_as(const VoxelWriter& target, const std::byte* from, std::ptrdiff_t step, std::byte* to,
                       std::int64_t count);

  std::byte* first_;
  Steps steps_;
  std::int64_t voxel_;
  bool same_type_;
  void (*write_)(const VoxelWriter&, const std::byte*, std::ptrdiff_t, std::byte*, std::int64_t);
  ConvertRow<float> to_float_ = nullptr;
  ConvertRow<std::int16_t> to_int16_ = nullptr;
};

class StoredVolume : public Volume {
 public:
  void read(std::int64_t channel, const Box& box, float* out, float outside) final;
  void read(std::int64_t channel, const Box& box, std::int16_t* out, std::int16_t outside) final;
  void read_channels(const Box& box, float* out, float outside) final;
  void read_channels(const Box& box, std::int16_t* out, std::int16_t outside) final;
  void read_channels(const Box& box, float* corner, const Steps& steps) final;
  void read_channels(const Box& box, std::int16_t* corner, const Steps& steps) final;
  void fetch(const Box& box) final;
  std::uint64_t bytes_read() const final { return bytes_read_; }

  void check() final;
  void check_once() final {
    checks_each_read_ = false;
    unchecked_ = true;
  }
  std::uint64_t content() final;
  void take_content(std::uint64_t content) final { content_ = content; }
  const platform::FileStamp& stamp() const final { return input_->stamp(); }

 protected:
  StoredVolume(std::unique_ptr<platform::InputFile> file, Element element, std::int64_t channels, const Index3& shape)
      : Volume(file->name(), channels, shape), input_(std::move(file)), element_(element) {}

  // It stays the same object where the file is opened anew.
  const platform::InputFile& input() const { return *input_; }
  Element element() const { return element_; }
  void count_bytes(std::uint64_t bytes) { bytes_read_ += bytes; }
  [[noreturn]] void fail(const std::string& reason) const;

  // Channels [first, last) of `box`, which is not empty and wholly inside the image.
  virtual void read_inside(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& writer) = 0;
  // Fetches what all channels of such a box need.
  virtual void fetch_inside(const Box& box) { static_cast<void>(box); }

 private:
  template <typename T>
  void read_as(std::int64_t first, std::int64_t last, const Box& box, T* out, T outside);
  template <typename T>
  void read_part(const Box& box, T* corner, const Steps& steps);
  // Checks the file, where that is due, before it is read.
  template <typename Read>
  void checked(Read read);

  std::unique_ptr<platform::InputFile> input_;
  Element element_;
  std::optional<std::uint64_t> content_;
  bool checks_each_read_ = true;
  bool unchecked_ = true;  // the next read has to check
  bool suspect_ = false;   // the handle gave an error that another one might not
  std::uint64_t bytes_read_ = 0;
};

// (C, X, Y, Z) of an array of 3 or 4 axes, every axis and all of it checked: at least one voxel, and no more bytes than
// can be counted. Throws StorageError.
struct VolumeShape {
  std::int64_t channels = 0;
  Index3 shape{};
  std::uint64_t bytes = 0;
};
VolumeShape volume_shape(const std::string& file, const std::vector<std::int64_t>& axes, Element element);

// "expected ..., got ..." for an array whose type cannot be read.
std::string unreadable_type(const std::string& dtype);

}  // namespace fastnnunet::storage
