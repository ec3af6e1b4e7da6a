#include "fastnnunet/storage/stored_volume.h"

#include <algorithm>
#include <type_traits>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::storage {

template <typename T>
void VoxelWriter::write_as(const VoxelWriter& target, const std::byte* from, std::ptrdiff_t step, std::byte* to,
                           std::int64_t count) {
  T* row = reinterpret_cast<T*>(to);  // it was a T* when the target was made
  ConvertRow<T> convert;
  if constexpr (std::is_same_v<T, float>) {
    convert = target.to_float_;
  } else {
    convert = target.to_int16_;
  }
  if (step != 0) {
    convert(from, step, row, count);
  } else if (count > 0) {
    convert(from, 0, row, 1);
    std::fill(row + 1, row + count, row[0]);
  }
}

template <typename T>
VoxelWriter::VoxelWriter(Element stored, T* first, const Steps& steps)
    : first_(reinterpret_cast<std::byte*>(first)), steps_(steps), voxel_(sizeof(T)), write_(write_as<T>) {
  if constexpr (std::is_same_v<T, float>) {
    same_type_ = stored == Element::float32;
    to_float_ = convert_row<float>(stored);
  } else {
    same_type_ = stored == Element::int16;
    to_int16_ = convert_row<std::int16_t>(stored);
  }
}

namespace {

std::string text_of(const Box& box) {
  std::string text;
  for (int axis = 0; axis < 3; ++axis) {
    text += (axis == 0 ? "[" : ", ") + std::to_string(box.lower[axis]) + ":" + std::to_string(box.upper[axis]);
  }
  return text + "]";
}

}  // namespace

template <typename T>
void StoredVolume::read_as(std::int64_t first, std::int64_t last, const Box& box, T* out, T outside) {
  if (first < 0 || last > channels()) {
    throw InvalidArgument(file(), "a channel of 0 to " + std::to_string(channels() - 1), std::to_string(first));
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (box.lower[axis] > box.upper[axis]) throw InvalidArgument(file(), "lower <= upper on every axis", text_of(box));
  }
  if (box.empty()) return;
  const Index3 extent = box.shape();
  const Box inner = box.intersect(Box::of_shape(shape()));
  if (!(inner == box)) {
    for (std::int64_t c = 0; c < last - first; ++c) base::fill_outside(box, inner, out + c * voxels(extent), outside);
  }
  if (inner.empty()) return;
  const VoxelWriter writer(element_, out + base::offset_in(box, inner.lower),
                           {voxels(extent), extent[1] * extent[2], extent[2]});
  checked([&] { read_inside(first, last, inner, writer); });
}

template <typename T>
void StoredVolume::read_part(const Box& box, T* corner, const Steps& steps) {
  if (box.empty() || !base::contains(Box::of_shape(shape()), box))
    throw InvalidArgument(file(), "a box inside the image", text_of(box));
  const VoxelWriter writer(element_, corner, steps);
  checked([&] { read_inside(0, channels(), box, writer); });
}

void StoredVolume::fetch(const Box& box) {
  if (!input_->in_parts()) return;
  const Box inner = box.intersect(Box::of_shape(shape()));
  if (!inner.empty()) checked([&] { fetch_inside(inner); });
}

template <typename Read>
void StoredVolume::checked(Read read) {
  if (unchecked_) check();
  try {
    read();
  } catch (const StorageError& error) {
    suspect_ = suspect_ || error.passing() == Passing::yes;
    unchecked_ = true;
    // A file that was good, and is not what it was, may not be all there yet.
    if (error.passing() == Passing::no && content_ && dynamic_cast<const ResourceError*>(&error) == nullptr &&
        !input_->current())
      throw StorageError(error.file(), error.reason(), Passing::if_it_changes);
    throw;
  }
}

void StoredVolume::check() {
  // In this order, for a file that is gone may come back, where one that cannot be opened was perhaps never there.
  if (!input_->current() || suspect_) input_->reopen(content_);
  suspect_ = false;
  unchecked_ = checks_each_read_;
}

std::uint64_t StoredVolume::content() {
  if (!content_) content_ = input_->content();
  return *content_;
}

void StoredVolume::read(std::int64_t channel, const Box& box, float* out, float outside) {
  read_as(channel, channel + 1, box, out, outside);
}

void StoredVolume::read(std::int64_t channel, const Box& box, std::int16_t* out, std::int16_t outside) {
  read_as(channel, channel + 1, box, out, outside);
}

void StoredVolume::read_channels(const Box& box, float* out, float outside) {
  read_as(0, channels(), box, out, outside);
}

void StoredVolume::read_channels(const Box& box, std::int16_t* out, std::int16_t outside) {
  read_as(0, channels(), box, out, outside);
}

void StoredVolume::read_channels(const Box& box, float* corner, const Steps& steps) { read_part(box, corner, steps); }

void StoredVolume::read_channels(const Box& box, std::int16_t* corner, const Steps& steps) {
  read_part(box, corner, steps);
}

void StoredVolume::fail(const std::string& reason) const { throw StorageError(file(), reason); }

VolumeShape volume_shape(const std::string& file, const std::vector<std::int64_t>& axes, Element element) {
  std::string text;
  for (const std::int64_t axis : axes) text += (text.empty() ? "(" : ", ") + std::to_string(axis);
  text = axes.empty() ? "()" : text + ")";
  if (axes.size() != 3 && axes.size() != 4) {
    throw StorageError(file, "expected an array of shape (C, X, Y, Z) or (X, Y, Z), got shape " + text);
  }
  const std::int64_t most = std::numeric_limits<std::int64_t>::max() / 2;
  std::int64_t bytes = static_cast<std::int64_t>(size_of(element));
  for (const std::int64_t axis : axes) {
    if (axis <= 0) throw StorageError(file, "expected at least one voxel on every axis, got shape " + text);
    if (axis > most / bytes) throw StorageError(file, "expected a shape that memory can hold, got shape " + text);
    bytes *= axis;
  }
  const std::size_t spatial = axes.size() - 3;
  return {spatial == 0 ? 1 : axes[0],
          {axes[spatial], axes[spatial + 1], axes[spatial + 2]},
          static_cast<std::uint64_t>(bytes)};
}

std::string unreadable_type(const std::string& dtype) {
  return "expected float16, float32, float64, bool or integers of 8 to 64 bits in this machine's byte order, got dtype "
         "'" +
         dtype + "'";
}

}  // namespace fastnnunet::storage
