// A dense array somewhere in a file: all of an .npy, or a member that an .npz stores without compression.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/numpy/npy_header.h"
#include "fastnnunet/storage/stored_volume.h"

namespace fastnnunet::storage {

class NpyVolume final : public StoredVolume {
 public:
  // The .npy begins at `offset` and has at most `size` bytes. Throws StorageError.
  static std::unique_ptr<Volume> open(std::unique_ptr<platform::InputFile> file, std::uint64_t offset,
                                      std::uint64_t size);

  std::size_t memory() const override { return sizeof(*this) + sizeof(platform::InputFile) + scratch_.capacity(); }

 private:
  NpyVolume(std::unique_ptr<platform::InputFile> file, const NpyHeader& header, const VolumeShape& shape,
            std::uint64_t data);
  void read_inside(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target) override;
  // Where the voxels of a row along Z lie together, and where they do not, as in Fortran's order.
  void read_rows(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target);
  void read_columns(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target);
  std::uint64_t place(std::int64_t c, std::int64_t x, std::int64_t y, std::int64_t z) const;  // in the file

  std::uint64_t data_;    // where the voxels begin in the file
  std::int64_t step_[4];  // bytes from one voxel to the next along C, X, Y, Z
  std::vector<std::byte> scratch_;
};

}  // namespace fastnnunet::storage
