#include "fastnnunet/storage/numpy/npy_volume.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/formats.h"

namespace fastnnunet::storage {

std::unique_ptr<Volume> NpyVolume::open(std::unique_ptr<platform::InputFile> file, std::uint64_t offset,
                                        std::uint64_t size) {
  std::vector<std::byte> scratch;
  const std::size_t preamble = static_cast<std::size_t>(std::min<std::uint64_t>(kNpyPreamble, size));
  const NpyText text = npy_text(file->name(), file->bytes(offset, preamble, scratch), preamble);
  if (text.end > size) {
    throw StorageError(file->name(), "file is truncated: header says " + std::to_string(text.end) +
                                         " bytes, file has " + std::to_string(size));
  }
  const std::byte* characters = file->bytes(offset + text.begin, text.end - text.begin, scratch);
  const NpyHeader header =
      parse_npy_header(file->name(), {reinterpret_cast<const char*>(characters), text.end - text.begin});
  const VolumeShape shape = volume_shape(file->name(), header.axes, header.element);
  if (shape.bytes > size - text.end) {
    throw StorageError(file->name(), "file is truncated: header says " + std::to_string(text.end + shape.bytes) +
                                         " bytes, file has " + std::to_string(size));
  }
  return std::unique_ptr<Volume>(new NpyVolume(std::move(file), header, shape, offset + text.end));
}

NpyVolume::NpyVolume(std::unique_ptr<platform::InputFile> file, const NpyHeader& header, const VolumeShape& shape,
                     std::uint64_t data)
    : StoredVolume(std::move(file), header.element, shape.channels, shape.shape), data_(data) {
  const std::int64_t axes[4] = {shape.channels, shape.shape[0], shape.shape[1], shape.shape[2]};
  std::int64_t step = static_cast<std::int64_t>(size_of(header.element));
  for (int i = 0; i < 4; ++i) {
    const int axis = header.fortran_order ? i : 3 - i;
    step_[axis] = step;
    step *= axes[axis];
  }
}

void NpyVolume::read_inside(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target) {
  const auto voxel = static_cast<std::int64_t>(size_of(element()));
  if (step_[3] == voxel)
    read_rows(first, last, box, target);
  else
    read_columns(first, last, box, target);
  count_bytes(static_cast<std::uint64_t>((last - first) * voxels(box.shape()) * voxel));
}

std::uint64_t NpyVolume::place(std::int64_t c, std::int64_t x, std::int64_t y, std::int64_t z) const {
  return data_ + static_cast<std::uint64_t>(c * step_[0] + x * step_[1] + y * step_[2] + z * step_[3]);
}

void NpyVolume::read_rows(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target) {
  const auto [planes, rows, columns] = box.shape();
  const std::int64_t row_bytes = columns * step_[3];
  // Rows that lie close to each other are read in one go.
  const bool close = step_[2] - row_bytes <= static_cast<std::int64_t>(platform::InputFile::kShortGap);
  const std::int64_t at_once = close ? rows : 1;
  const auto bytes = static_cast<std::size_t>((at_once - 1) * step_[2] + row_bytes);
  for (std::int64_t c = first; c < last; ++c) {
    for (std::int64_t x = 0; x < planes; ++x) {
      for (std::int64_t y = 0; y < rows; y += at_once) {
        const std::uint64_t from = place(c, box.lower[0] + x, box.lower[1] + y, box.lower[2]);
        const std::byte* row = input().bytes(from, bytes, scratch_);
        for (std::int64_t i = 0; i < at_once; ++i)
          target.write(row + i * step_[2], step_[3], target.at(c - first, x, y + i, 0), columns);
      }
    }
  }
}

void NpyVolume::read_columns(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target) {
  const auto [planes, rows, columns] = box.shape();
  // The channels and planes of one (y, z) are adjacent in the file. scratch_: (Z, X, C) of one y.
  const std::int64_t together = (planes - 1) * step_[1] + (last - first) * step_[0];
  scratch_.resize(static_cast<std::size_t>(columns * together));
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t z = 0; z < columns; ++z)
      input().read(place(first, box.lower[0], box.lower[1] + y, box.lower[2] + z), scratch_.data() + z * together,
                   static_cast<std::size_t>(together));
    for (std::int64_t c = first; c < last; ++c)
      for (std::int64_t x = 0; x < planes; ++x)
        target.write(scratch_.data() + (c - first) * step_[0] + x * step_[1], together, target.at(c - first, x, y, 0),
                     columns);
  }
}

std::unique_ptr<Volume> open_npy(const std::filesystem::path& path) {
  auto file = std::make_unique<platform::InputFile>(path);
  const std::uint64_t size = file->size();
  return NpyVolume::open(std::move(file), 0, size);
}

}  // namespace fastnnunet::storage
