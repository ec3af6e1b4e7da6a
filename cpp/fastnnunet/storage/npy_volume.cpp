#include "fastnnunet/storage/npy_volume.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/formats.h"

namespace fastnnunet {

std::unique_ptr<Volume> NpyVolume::open(std::unique_ptr<InputFile> file, std::uint64_t offset, std::uint64_t size) {
  std::vector<std::byte> scratch;
  const std::size_t preamble = static_cast<std::size_t>(std::min<std::uint64_t>(kNpyPreamble, size));
  file->prepare(offset, preamble);
  const NpyText text = npy_text(file->name(), file->bytes(offset, preamble, scratch), preamble);
  if (text.end > size) {
    throw StorageError(file->name(), "file is truncated: header says " + std::to_string(text.end) +
                                         " bytes, file has " + std::to_string(size));
  }
  file->prepare(offset + text.begin, text.end - text.begin);
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

NpyVolume::NpyVolume(std::unique_ptr<InputFile> file, const NpyHeader& header, const VolumeShape& shape,
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
  const auto [planes, rows, columns] = box.shape();
  const std::int64_t voxel = static_cast<std::int64_t>(size_of(element()));
  // From the first to the last byte of a row along Z: the voxels between are others where the order is Fortran's.
  const std::size_t span = static_cast<std::size_t>((columns - 1) * step_[3] + voxel);
  for (std::int64_t c = first; c < last; ++c) {
    for (std::int64_t x = 0; x < planes; ++x) {
      const std::int64_t plane =
          c * step_[0] + (box.lower[0] + x) * step_[1] + box.lower[1] * step_[2] + box.lower[2] * step_[3];
      input().prepare(data_ + static_cast<std::uint64_t>(plane),
                      static_cast<std::size_t>((rows - 1) * step_[2]) + span);
      for (std::int64_t y = 0; y < rows; ++y) {
        const std::int64_t at = plane + y * step_[2];
        const std::byte* row = input().bytes(data_ + static_cast<std::uint64_t>(at), span, scratch_);
        target.write(row, step_[3], target.at(c - first, x, y, 0), columns);
      }
    }
  }
  count_bytes(static_cast<std::uint64_t>((last - first) * voxels(box.shape()) * voxel));
}

std::unique_ptr<Volume> open_npy(const std::filesystem::path& path, FileAccess access) {
  auto file = std::make_unique<InputFile>(path, access);
  const std::uint64_t size = file->size();
  return NpyVolume::open(std::move(file), 0, size);
}

}  // namespace fastnnunet
