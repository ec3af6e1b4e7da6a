// Real files to read: .b2nd as c-blosc2 itself writes them, .npy and .npz byte by byte, and what should be read from
// them.
#pragma once

#include <b2nd.h>
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/box.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/process.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::testing {

using Bytes = std::string;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("fastnnunet-storage-" + std::to_string(platform::process_id()) + "-" + std::to_string(++count));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out) throw std::runtime_error("cannot write " + path.string());
}

inline Bytes read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  return Bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// What a test expects: shape (C, X, Y, Z), or (X, Y, Z), in C order.
template <typename T>
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<T> values;

  std::int64_t channels() const { return shape.size() == 4 ? shape[0] : 1; }
  Index3 extent() const {
    const std::size_t first = shape.size() - 3;
    return {shape[first], shape[first + 1], shape[first + 2]};
  }
  T at(std::int64_t c, std::int64_t x, std::int64_t y, std::int64_t z) const {
    const Index3 size = extent();
    return values[static_cast<std::size_t>(((c * size[0] + x) * size[1] + y) * size[2] + z)];
  }
};

// Smooth along Z so that it compresses, and different at every neighbour.
template <typename T>
Array<T> ramp(std::vector<std::int64_t> shape) {
  Array<T> array{std::move(shape), {}};
  std::int64_t count = 1;
  for (const std::int64_t axis : array.shape) count *= axis;
  array.values.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    array.values[static_cast<std::size_t>(i)] = static_cast<T>((i * 7 + i / 61) % 113);
  }
  return array;
}

struct Compression {
  std::vector<std::int32_t> chunks;
  std::vector<std::int32_t> blocks;
  int codec = BLOSC_LZ4HC;
  int level = 5;
  int filter = BLOSC_SHUFFLE;
  int filter_meta = 0;
};

class BloscWriter {
 public:
  BloscWriter(const std::filesystem::path& path, const std::vector<std::int64_t>& shape, const std::string& dtype,
              int voxel, const Compression& compression)
      : path_(path.string()) {
    blosc2_init();
    std::filesystem::remove(path);
    parameters_ = BLOSC2_CPARAMS_DEFAULTS;
    parameters_.typesize = voxel;
    parameters_.compcode = static_cast<std::uint8_t>(compression.codec);
    parameters_.clevel = static_cast<std::uint8_t>(compression.level);
    parameters_.filters[BLOSC2_MAX_FILTERS - 1] = static_cast<std::uint8_t>(compression.filter);
    parameters_.filters_meta[BLOSC2_MAX_FILTERS - 1] = static_cast<std::uint8_t>(compression.filter_meta);
    storage_ = BLOSC2_STORAGE_DEFAULTS;
    storage_.contiguous = true;
    storage_.urlpath = path_.data();
    storage_.cparams = &parameters_;
    context_ =
        b2nd_create_ctx(&storage_, static_cast<std::int8_t>(shape.size()), shape.data(), compression.chunks.data(),
                        compression.blocks.data(), dtype.c_str(), DTYPE_NUMPY_FORMAT, nullptr, 0);
    if (context_ == nullptr) throw std::runtime_error("b2nd_create_ctx");
  }
  ~BloscWriter() {
    if (array != nullptr) b2nd_free(array);
    b2nd_free_ctx(context_);
  }
  BloscWriter(const BloscWriter&) = delete;
  BloscWriter& operator=(const BloscWriter&) = delete;

  static void require(int result) {
    if (result < 0) throw std::runtime_error(print_error(result));
  }
  b2nd_context_t* context() { return context_; }
  b2nd_array_t* array = nullptr;

 private:
  std::string path_;
  blosc2_cparams parameters_;
  blosc2_storage storage_;
  b2nd_context_t* context_;
};

template <typename T>
void write_b2nd(const std::filesystem::path& path, const Array<T>& array, const std::string& dtype,
                const Compression& compression) {
  BloscWriter writer(path, array.shape, dtype, sizeof(T), compression);
  BloscWriter::require(b2nd_from_cbuffer(writer.context(), &writer.array, array.values.data(),
                                         static_cast<std::int64_t>(array.values.size() * sizeof(T))));
}

inline Bytes npy_header(const std::string& dict, int version = 1) {
  Bytes header = "\x93NUMPY";
  header += static_cast<char>(version);
  header += '\0';
  const std::size_t before = header.size() + (version == 1 ? 2 : 4);
  std::string text = dict;
  while ((before + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) header += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return header + text;
}

inline std::string npy_dict(const std::string& dtype, const std::vector<std::int64_t>& shape, bool fortran = false) {
  std::string axes;
  for (const std::int64_t axis : shape) axes += std::to_string(axis) + ", ";
  if (shape.size() > 1) axes.resize(axes.size() - 2);
  return "{'descr': '" + dtype + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': (" + axes + "), }";
}

template <typename T>
Bytes npy_bytes(const Array<T>& array, const std::string& dtype, int version = 1) {
  return npy_header(npy_dict(dtype, array.shape), version) + bytes_of(array.values);
}

inline Bytes number_bytes(std::uint64_t value, int count) {
  Bytes bytes;
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

inline Bytes deflated(const Bytes& bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::runtime_error("zlib");
  Bytes out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// An archive as NumPy writes it: with `large`, sizes and places stand in zip64's extra fields; with `small_sizes`, the
// places alone, as those of small members beyond 4 GiB.
inline Bytes zip_bytes(const std::vector<std::pair<std::string, Bytes>>& members, bool compress, bool large,
                       const Bytes& comment = "", bool small_sizes = false) {
  Bytes archive;
  Bytes directory;
  for (const auto& [name, content] : members) {
    const Bytes data = compress ? deflated(content) : content;
    const auto crc = crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
    const Bytes method = number_bytes(compress ? 8 : 0, 2);
    const bool large_sizes = large && !small_sizes;
    const Bytes sizes = large_sizes ? number_bytes(0xffffffff, 4) + number_bytes(0xffffffff, 4)
                                    : number_bytes(data.size(), 4) + number_bytes(content.size(), 4);
    const Bytes both = large_sizes ? number_bytes(content.size(), 8) + number_bytes(data.size(), 8) : "";
    const Bytes local_extra = large_sizes ? number_bytes(1, 2) + number_bytes(16, 2) + both : "";
    const Bytes own_comment = large ? "of " + name : "";
    const Bytes extra = large ? number_bytes(0x7075, 2) + number_bytes(1, 2) + "x" + number_bytes(1, 2) +
                                    number_bytes(both.size() + 8, 2) + both + number_bytes(archive.size(), 8)
                              : "";
    const Bytes shared = number_bytes(large ? 45 : 20, 2) + number_bytes(0, 2) + method + number_bytes(0, 4) +
                         number_bytes(crc, 4) + sizes + number_bytes(name.size(), 2);
    directory += number_bytes(0x02014b50, 4) + number_bytes(45, 2) + shared + number_bytes(extra.size(), 2) +
                 number_bytes(own_comment.size(), 2) + number_bytes(0, 2) + number_bytes(0, 2) + number_bytes(0, 4) +
                 number_bytes(large ? 0xffffffff : archive.size(), 4) + name + extra + own_comment;
    archive += number_bytes(0x04034b50, 4) + shared + number_bytes(local_extra.size(), 2) + name + local_extra + data;
  }
  const std::uint64_t place = archive.size();
  archive += directory;
  const std::uint64_t count = members.size();
  if (large) {
    const std::uint64_t record = archive.size();
    archive += number_bytes(0x06064b50, 4) + number_bytes(44, 8) + number_bytes(45, 2) + number_bytes(45, 2) +
               number_bytes(0, 8) + number_bytes(count, 8) + number_bytes(count, 8) +
               number_bytes(directory.size(), 8) + number_bytes(place, 8);
    archive += number_bytes(0x07064b50, 4) + number_bytes(0, 4) + number_bytes(record, 8) + number_bytes(1, 4);
  }
  archive += number_bytes(0x06054b50, 4) + number_bytes(0, 4) + number_bytes(large ? 0xffff : count, 2) +
             number_bytes(large ? 0xffff : count, 2) + number_bytes(directory.size(), 4) +
             number_bytes(large ? 0xffffffff : place, 4) + number_bytes(comment.size(), 2) + comment;
  return archive;
}

// Reads `box` of one channel and compares it voxel by voxel; what is outside the image must be -1.
template <typename Out, typename T>
bool box_is_right(Volume& volume, const Array<T>& array, std::int64_t channel, const Box& box) {
  const Index3 extent = box.shape();
  // One more than needed: nothing may be written there.
  std::vector<Out> out(static_cast<std::size_t>(voxels(extent)) + 1, Out{77});
  volume.read(channel, box, out.data(), Out{-1});
  if (out.back() != Out{77}) return false;
  const Index3 size = array.extent();
  std::size_t i = 0;
  for (std::int64_t x = box.lower[0]; x < box.upper[0]; ++x) {
    for (std::int64_t y = box.lower[1]; y < box.upper[1]; ++y) {
      for (std::int64_t z = box.lower[2]; z < box.upper[2]; ++z) {
        const bool inside = x >= 0 && y >= 0 && z >= 0 && x < size[0] && y < size[1] && z < size[2];
        const Out expected = inside ? static_cast<Out>(array.at(channel, x, y, z)) : Out{-1};
        if (out[i++] != expected) return false;
      }
    }
  }
  return true;
}

// Boxes of every kind of position: inside, across each border, around everything, wholly outside, single voxels and
// none.
inline std::vector<Box> boxes_for(const Index3& size) {
  std::vector<Box> boxes = {
      Box::of_shape(size),
      {{-3, -2, -1}, {size[0] + 2, size[1] + 1, size[2] + 3}},
      {{0, 0, 0}, {1, 1, 1}},
      {{size[0] - 1, size[1] - 1, size[2] - 1}, size},
      {{size[0] / 3, size[1] / 4, size[2] / 5}, {size[0] / 3 + 1, size[1] / 4 + 1, size[2] / 5 + 1}},
      {{size[0] / 3, size[1] / 4, size[2] / 5}, {size[0], size[1], size[2]}},
      {{size[0], 0, 0}, {size[0] + 2, 3, 3}},
      {{-5, -5, -5}, {0, -1, 2}},
      {{0, 0, size[2] + 100}, {2, 2, size[2] + 104}},
      {{1, 1, 1}, {1, 5, 5}}};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    Box low = Box::of_shape(size);
    low.upper[axis] = size[axis] / 2 + 1;
    low.lower[axis] = -4;
    boxes.push_back(low);
    Box high = Box::of_shape(size);
    high.lower[axis] = size[axis] / 2;
    high.upper[axis] = size[axis] + 5;
    boxes.push_back(high);
  }
  return boxes;
}

template <typename T>
void check_volume(Volume& volume, const Array<T>& array) {
  REQUIRE(volume.channels() == array.channels());
  REQUIRE(volume.shape() == array.extent());
  for (const Box& box : boxes_for(array.extent())) {
    for (std::int64_t channel = 0; channel < array.channels(); ++channel) {
      CAPTURE(channel, box.lower, box.upper);
      CHECK(box_is_right<float>(volume, array, channel, box));
      CHECK(box_is_right<std::int16_t>(volume, array, channel, box));
    }
    // All channels at once are the channels one after the other.
    const auto count = static_cast<std::size_t>(voxels(box.shape()));
    std::vector<float> together(count * static_cast<std::size_t>(array.channels()), 5.0f);
    std::vector<float> apart(together.size(), 6.0f);
    volume.read_channels(box, together.data(), -1.0f);
    for (std::int64_t channel = 0; channel < array.channels(); ++channel) {
      volume.read(channel, box, apart.data() + count * static_cast<std::size_t>(channel), -1.0f);
    }
    CHECK(together == apart);
  }
}

// The reason of the StorageError that `action` throws, or "" if it throws none. It must name the file.
inline std::string reason_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const StorageError& error) {
    CHECK(std::string(error.what()).find(error.file()) != std::string::npos);
    CHECK(std::filesystem::path(error.file()).has_filename());
    return error.reason();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace fastnnunet::testing
