#include "fastnnunet/storage/b2nd/header.h"

#include <blosc2.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "fastnnunet/base/error.h"

namespace fastnnunet::storage {

namespace {

// Places of the frame header's fields. Each is preceded by its msgpack type.
constexpr std::size_t kMagic = 2;
constexpr std::size_t kHeaderLength = 11;
constexpr std::size_t kFrameLength = 16;
constexpr std::size_t kFlags = 25;
constexpr std::size_t kFrameType = 26;
constexpr std::size_t kUncompressed = 30;
constexpr std::size_t kCompressed = 39;
constexpr std::size_t kTypeSize = 48;
constexpr std::size_t kChunkBytes = 58;
constexpr std::size_t kMetalayers = 87;
constexpr std::size_t kLongestHeader = 1 << 20;
// Of the index of offsets: 32 MiB, more than a thousand times what an image has.
constexpr std::int64_t kMostChunks = 1 << 22;
// Of a block, of which a reader keeps five: 64 MiB, more than a thousand times what nnU-Net's have.
constexpr std::int64_t kMostBlockBytes = 1 << 26;

// Big-endian numbers with msgpack's types before them, never beyond the end.
class Msgpack {
 public:
  Msgpack(const platform::InputFile& file, const std::byte* bytes, std::size_t size, std::size_t at)
      : file_(file), bytes_(bytes), size_(size), at_(at) {}

  std::size_t at() const { return at_; }

  [[noreturn]] void damaged(const std::string& what) const {
    throw StorageError(file_.name(), "damaged .b2nd header: " + what);
  }

  std::uint64_t number(int bytes) {
    if (size_ < at_ || size_ - at_ < static_cast<std::size_t>(bytes)) damaged("it ends too early");
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i)
      value = value << 8 | static_cast<std::uint64_t>(bytes_[at_ + static_cast<std::size_t>(i)]);
    at_ += static_cast<std::size_t>(bytes);
    return value;
  }

  void expect(std::uint64_t type) {
    if (number(1) != type) damaged("byte " + std::to_string(at_ - 1) + " is not what the format has there");
  }

  std::int64_t int32() {
    expect(0xd2);
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(number(4)));
  }

  std::int64_t int64() {
    expect(0xd3);
    return static_cast<std::int64_t>(number(8));
  }

  std::string_view text(std::uint64_t length) {
    if (size_ < at_ || size_ - at_ < length) damaged("it ends too early");
    const std::string_view value(reinterpret_cast<const char*>(bytes_) + at_, static_cast<std::size_t>(length));
    at_ += static_cast<std::size_t>(length);
    return value;
  }

 private:
  const platform::InputFile& file_;
  const std::byte* bytes_;
  std::size_t size_;
  std::size_t at_;
};

std::uint64_t big_endian(const std::byte* bytes, int count) {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | static_cast<std::uint64_t>(bytes[i]);
  return value;
}

// Where the content of metalayer `name` lies in the header: an array of its own length, a map of names to places.
struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};
Range metalayer(const platform::InputFile& file, const std::byte* header, std::size_t size, std::string_view name) {
  Msgpack map(file, header, size, kMetalayers);
  map.expect(0x93);
  map.expect(0xcd);
  map.number(2);
  map.expect(0xde);
  const std::uint64_t count = map.number(2);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t type = map.number(1);
    if ((type & 0xe0) != 0xa0) map.damaged("the name of a metalayer is not a short text");
    const std::string_view found = map.text(type & 0x1f);
    const std::int64_t place = map.int32();
    if (found != name) continue;
    if (place < 0) map.damaged("a metalayer lies before the file");
    Msgpack content(file, header, size, static_cast<std::size_t>(place));
    content.expect(0xc6);
    const std::uint64_t length = content.number(4);
    if (content.at() > size || length > size - content.at()) map.damaged("a metalayer is longer than the header");
    return {content.at(), content.at() + static_cast<std::size_t>(length)};
  }
  throw StorageError(file.name(), "expected an array of several axes (metalayer b2nd), got a frame without one");
}

std::string text_of(const std::vector<std::int64_t>& values) {
  std::string text;
  for (const std::int64_t value : values) text += (text.empty() ? "(" : ", ") + std::to_string(value);
  return text + ")";
}

}  // namespace

B2ndHeader read_b2nd_header(const platform::InputFile& file) {
  std::vector<std::byte> scratch;
  if (file.size() < kMetalayers) {
    throw StorageError(file.name(), "file is truncated: a .b2nd header has at least " + std::to_string(kMetalayers) +
                                        " bytes, file has " + std::to_string(file.size()));
  }
  const std::byte* fixed = file.bytes(0, kMetalayers, scratch);
  static constexpr char kText[8] = {'b', '2', 'f', 'r', 'a', 'm', 'e', '\0'};
  if (std::memcmp(fixed + kMagic, kText, sizeof(kText)) != 0) {
    throw StorageError(file.name(), "is not a .b2nd file: it does not begin as a frame of blosc2");
  }
  const std::uint64_t length = big_endian(fixed + kFrameLength, 8);
  if (length > file.size()) {
    throw StorageError(file.name(), "file is truncated: header says " + std::to_string(length) + " bytes, file has " +
                                        std::to_string(file.size()));
  }
  const std::uint64_t header_length = big_endian(fixed + kHeaderLength, 4);
  const std::uint64_t flags = big_endian(fixed + kFlags, 1);
  const std::uint64_t uncompressed = big_endian(fixed + kUncompressed, 8);
  const std::uint64_t compressed = big_endian(fixed + kCompressed, 8);
  const std::uint64_t type_size = big_endian(fixed + kTypeSize, 4);
  const std::uint64_t chunk_bytes = big_endian(fixed + kChunkBytes, 4);
  if (big_endian(fixed + kFrameType, 1) != 0) throw StorageError(file.name(), "expected a contiguous frame of blosc2");
  if ((flags & 0x0f) > BLOSC2_VERSION_FRAME_FORMAT) {
    throw StorageError(file.name(), "expected a frame of blosc2 of format up to " +
                                        std::to_string(BLOSC2_VERSION_FRAME_FORMAT) + ", got " +
                                        std::to_string(flags & 0x0f));
  }
  const Msgpack all(file, fixed, kMetalayers, 0);
  if (header_length < kMetalayers || header_length > kLongestHeader || header_length > length) {
    all.damaged("its length is " + std::to_string(header_length));
  }
  if (compressed > length - header_length) all.damaged("the chunks are longer than the file");

  const std::byte* header = file.bytes(0, static_cast<std::size_t>(header_length), scratch);
  const Range range = metalayer(file, header, static_cast<std::size_t>(header_length), "b2nd");
  Msgpack meta(file, header, range.end, range.begin);
  const std::uint64_t fields = meta.number(1);
  if (fields != 0x97) meta.damaged("the metalayer b2nd does not have the 7 fields of an array with a type");
  if (const std::uint64_t version = meta.number(1); version != 0) {
    throw StorageError(file.name(), "expected format version 0 of metalayer b2nd, got " + std::to_string(version));
  }
  const std::uint64_t axes = meta.number(1);
  if (axes > 15) meta.damaged("it has " + std::to_string(axes) + " axes");
  std::vector<std::int64_t> shape(axes);
  std::vector<std::int64_t> chunk(axes);
  std::vector<std::int64_t> block(axes);
  meta.expect(0x90 | axes);
  for (std::int64_t& value : shape) value = meta.int64();
  meta.expect(0x90 | axes);
  for (std::int64_t& value : chunk) value = meta.int32();
  meta.expect(0x90 | axes);
  for (std::int64_t& value : block) value = meta.int32();
  if (meta.number(1) != 0) meta.damaged("the type is not in NumPy's notation");
  meta.expect(0xdb);
  const std::uint64_t dtype_length = meta.number(4);
  std::string dtype(meta.text(std::min<std::uint64_t>(dtype_length, 64)));
  const std::optional<Element> element = element_of(dtype);
  if (!element || dtype_length > 64) {
    std::replace_if(dtype.begin(), dtype.end(), [](char character) { return character < ' ' || character > '~'; }, ' ');
    throw StorageError(file.name(), unreadable_type(dtype));
  }

  B2ndHeader result;
  result.element = *element;
  result.shape = volume_shape(file.name(), shape, *element);
  if (type_size != size_of(*element)) meta.damaged("the size of a voxel is not that of dtype " + dtype);
  std::int64_t count = 1;
  result.chunk_bytes = result.block_bytes = static_cast<std::int64_t>(size_of(*element));
  result.chunk.fill(1);
  result.block.fill(1);
  result.chunks.fill(1);
  result.blocks.fill(1);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::size_t axis = i + 4 - shape.size();
    if (chunk[i] <= 0 || block[i] <= 0 || block[i] > chunk[i]) {
      meta.damaged("chunks are " + text_of(chunk) + " and blocks " + text_of(block));
    }
    result.chunk[axis] = chunk[i];
    result.block[axis] = block[i];
    result.chunks[axis] = (shape[i] - 1) / chunk[i] + 1;
    result.blocks[axis] = (chunk[i] - 1) / block[i] + 1;
    if (result.chunks[axis] > kMostChunks / count) {
      meta.damaged("expected at most " + std::to_string(kMostChunks) + " chunks");
    }
    count *= result.chunks[axis];
    const std::int64_t padded = result.blocks[axis] * block[i];
    if (padded > BLOSC2_MAX_BUFFERSIZE / result.chunk_bytes)
      meta.damaged("chunks of " + text_of(chunk) + " are too large");
    result.chunk_bytes *= padded;
    result.block_bytes *= block[i];
  }
  if (result.block_bytes > kMostBlockBytes) {
    throw StorageError(file.name(), "expected blocks of at most " + std::to_string(kMostBlockBytes) + " bytes, got " +
                                        std::to_string(result.block_bytes));
  }
  if (chunk_bytes != static_cast<std::uint64_t>(result.chunk_bytes) ||
      uncompressed != static_cast<std::uint64_t>(result.chunk_bytes) * static_cast<std::uint64_t>(count)) {
    meta.damaged("the frame does not have the bytes that its shape, chunks and blocks need");
  }
  result.data = header_length;
  result.index = header_length + compressed;
  result.end = length;
  return result;
}

}  // namespace fastnnunet::storage
