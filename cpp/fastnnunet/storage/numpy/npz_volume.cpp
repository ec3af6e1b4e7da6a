// .npz is a zip archive of .npy members. Those that are deflated can only be read from their beginning, so a read
// inflates up to the last voxel that it needs, through buffers of fixed size.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/formats.h"
#include "fastnnunet/storage/numpy/npy_header.h"
#include "fastnnunet/storage/numpy/npy_volume.h"
#include "fastnnunet/storage/stored_volume.h"

namespace fastnnunet::storage {

namespace {

std::uint64_t little_endian(const std::byte* bytes, int count) {
  std::uint64_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<std::uint64_t>(bytes[i]);
  return value;
}

struct Member {
  std::uint64_t data = 0;        // where its bytes begin in the file
  std::uint64_t compressed = 0;  // bytes in the file
  std::uint64_t size = 0;        // bytes of the .npy
  std::uint32_t checksum = 0;    // CRC-32 of the .npy
  bool deflated = false;
};

// Finds one member of a zip archive, of either size (zip64).
class ZipReader {
 public:
  explicit ZipReader(const platform::InputFile& file) : file_(file) {}

  Member find(const std::string& name) {
    locate_directory();
    std::string names;
    std::uint64_t at = directory_;
    for (std::uint64_t i = 0; i < entries_; ++i) {
      const std::byte* entry = bytes(at, 46);
      if (little_endian(entry, 4) != 0x02014b50) damaged("the directory of members");
      const std::uint64_t flags = little_endian(entry + 8, 2);
      const std::uint64_t method = little_endian(entry + 10, 2);
      Member member;
      member.checksum = static_cast<std::uint32_t>(little_endian(entry + 16, 4));
      member.compressed = little_endian(entry + 20, 4);
      member.size = little_endian(entry + 24, 4);
      std::uint64_t header = little_endian(entry + 42, 4);
      const std::uint64_t name_length = little_endian(entry + 28, 2);
      const std::uint64_t extra_length = little_endian(entry + 30, 2);
      const std::uint64_t comment_length = little_endian(entry + 32, 2);
      const std::byte* text = bytes(at + 46, name_length);
      const std::string found(reinterpret_cast<const char*>(text), static_cast<std::size_t>(name_length));
      if (found == name) {
        read_long_sizes(at + 46 + name_length, extra_length, member, header);
        if ((flags & 1) != 0) throw StorageError(file_.name(), "member " + name + " is encrypted");
        if (method != 0 && method != 8) {
          throw StorageError(file_.name(), "expected member " + name + " to be stored or deflated, got zip method " +
                                               std::to_string(method));
        }
        member.deflated = method == 8;
        const std::byte* local = bytes(header, 30);
        if (little_endian(local, 4) != 0x04034b50) damaged("the header of member " + name);
        member.data = header + 30 + little_endian(local + 26, 2) + little_endian(local + 28, 2);
        if (member.data > file_.size() || member.compressed > file_.size() - member.data) {
          throw StorageError(file_.name(), "file is truncated: member " + name + " needs " +
                                               std::to_string(member.compressed) + " bytes from byte " +
                                               std::to_string(member.data) + ", file has " +
                                               std::to_string(file_.size()));
        }
        if (!member.deflated && member.size != member.compressed) damaged("the sizes of member " + name);
        return member;
      }
      if (names.size() < 200) names += (names.empty() ? "" : ", ") + found;
      at += 46 + name_length + extra_length + comment_length;
    }
    throw StorageError(file_.name(), "expected a member " + name + ", got members: " + names);
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    throw StorageError(file_.name(), "damaged zip archive: " + what + " cannot be read");
  }

  const std::byte* bytes(std::uint64_t offset, std::uint64_t count) {
    if (offset > file_.size() || count > file_.size() - offset)
      damaged("what should be at byte " + std::to_string(offset));
    return file_.bytes(offset, static_cast<std::size_t>(count), scratch_);
  }

  // The record at the archive's end, before a comment of up to 65535 bytes.
  void locate_directory() {
    constexpr std::uint64_t kRecord = 22;
    if (file_.size() < kRecord) throw StorageError(file_.name(), "file is truncated: too short for a zip archive");
    const std::uint64_t length = std::min<std::uint64_t>(file_.size(), kRecord + 65535);
    const std::uint64_t begin = file_.size() - length;
    const std::byte* tail = bytes(begin, length);
    for (std::uint64_t back = kRecord; back <= length; ++back) {
      const std::byte* record = tail + (length - back);
      if (little_endian(record, 4) != 0x06054b50 || little_endian(record + 20, 2) != back - kRecord) continue;
      entries_ = little_endian(record + 10, 2);
      directory_ = little_endian(record + 16, 4);
      if (entries_ == 0xffff || directory_ == 0xffffffff) locate_long_directory(begin + length - back);
      return;
    }
    throw StorageError(file_.name(), "file is truncated, or is not a zip archive: the record at its end is missing");
  }

  void locate_long_directory(std::uint64_t record) {
    if (record < 20) return;
    const std::byte* locator = bytes(record - 20, 20);
    if (little_endian(locator, 4) != 0x07064b50) return;  // the numbers just happen to be the largest
    const std::byte* longer = bytes(little_endian(locator + 8, 8), 56);
    if (little_endian(longer, 4) != 0x06064b50) damaged("the directory of members");
    entries_ = little_endian(longer + 32, 8);
    directory_ = little_endian(longer + 48, 8);
  }

  // The extra field 1 holds, in this order, those numbers that do not fit 32 bits.
  void read_long_sizes(std::uint64_t offset, std::uint64_t length, Member& member, std::uint64_t& header) {
    constexpr std::uint64_t kElsewhere = 0xffffffff;
    const std::byte* extra = bytes(offset, length);
    for (std::uint64_t at = 0; at + 4 <= length;) {
      const std::uint64_t id = little_endian(extra + at, 2);
      const std::uint64_t end = std::min(at + 4 + little_endian(extra + at + 2, 2), length);
      at += 4;
      if (id == 1) {
        for (std::uint64_t* number : {&member.size, &member.compressed, &header}) {
          if (*number != kElsewhere) continue;
          if (at + 8 > end) damaged("the sizes of a member");
          *number = little_endian(extra + at, 8);
          at += 8;
        }
        return;
      }
      at = end;
    }
  }

  const platform::InputFile& file_;
  std::uint64_t directory_ = 0;
  std::uint64_t entries_ = 0;
  std::vector<std::byte> scratch_;
};

// The bytes of a deflated member, in order, from its beginning.
class Inflater {
 public:
  Inflater(const platform::InputFile& file, const Member& member) : file_(file), member_(member), input_(kBuffer) {
    // Negative: bare deflate data, without zlib's own header.
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw StorageError(file.name(), "zlib cannot be started");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  void rewind() {
    inflateReset(&stream_);
    stream_.avail_in = 0;
    taken_ = 0;
    at_ = 0;
    checksum_ = 0;
    summing_ = false;
  }

  // Sums up all bytes from here, the beginning, to the end, for check_sum(). Deflate itself does not notice where a
  // byte that it keeps as it is has another value.
  void sum_up() { summing_ = true; }
  // Throws StorageError where the whole member was read and is not what was written.
  void check_sum() const {
    if (!summing_ || at_ != member_.size || checksum_ == member_.checksum) return;
    damaged("its CRC-32 is " + std::to_string(checksum_) + ", the archive says " + std::to_string(member_.checksum));
  }

  std::uint64_t at() const { return at_; }
  std::uint64_t size() const { return member_.size; }
  std::uint64_t taken() const { return taken_; }  // compressed bytes since the beginning

  void read(std::byte* to, std::size_t count) {
    while (count > 0) {
      const auto wanted = static_cast<uInt>(std::min<std::size_t>(count, std::numeric_limits<uInt>::max() / 2));
      stream_.next_out = reinterpret_cast<Bytef*>(to);
      stream_.avail_out = wanted;
      if (stream_.avail_in == 0) refill();
      const int result = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t got = wanted - stream_.avail_out;
      if (summing_) {
        checksum_ =
            static_cast<std::uint32_t>(crc32(checksum_, reinterpret_cast<const Bytef*>(to), static_cast<uInt>(got)));
      }
      to += got;
      count -= got;
      at_ += got;
      if (count > 0 && result == Z_STREAM_END) damaged("it ends at byte " + std::to_string(at_));
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        damaged(stream_.msg != nullptr ? stream_.msg : "error " + std::to_string(result));
      }
      if (got == 0 && stream_.avail_in == 0 && taken_ == member_.compressed) {
        damaged("it ends at byte " + std::to_string(at_));
      }
    }
  }

  void skip_to(std::uint64_t position, std::vector<std::byte>& scratch) {
    if (scratch.size() < kBuffer) scratch.resize(kBuffer);
    while (at_ < position) {
      read(scratch.data(), static_cast<std::size_t>(std::min<std::uint64_t>(position - at_, kBuffer)));
    }
  }

  // With what zlib keeps for a window of 32 KiB.
  std::size_t memory() const { return sizeof(*this) + input_.capacity() + 48 * 1024; }

 private:
  static constexpr std::size_t kBuffer = 64 * 1024;

  [[noreturn]] void damaged(const std::string& what) const {
    throw StorageError(file_.name(), "damaged or truncated compressed data: " + what);
  }

  void refill() {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, member_.compressed - taken_));
    file_.read(member_.data + taken_, input_.data(), count);
    taken_ += count;
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(count);
  }

  const platform::InputFile& file_;
  Member member_;
  std::vector<std::byte> input_;
  z_stream stream_{};
  std::uint64_t taken_ = 0;
  std::uint64_t at_ = 0;
  std::uint32_t checksum_ = 0;
  bool summing_ = false;
};

class NpzVolume final : public StoredVolume {
 public:
  NpzVolume(std::unique_ptr<platform::InputFile> file, std::unique_ptr<Inflater> inflater, Element element,
            const VolumeShape& shape, std::uint64_t data)
      : StoredVolume(std::move(file), element, shape.channels, shape.shape),
        inflater_(std::move(inflater)),
        data_(data) {}

  // It can only be read from its beginning.
  std::optional<Tiling> tiling() const override { return Tiling{shape(), shape()}; }

  void verify() override {
    check();
    inflater_->rewind();
    inflater_->sum_up();
    inflater_->skip_to(inflater_->size(), skipped_);
    inflater_->check_sum();
    count_bytes(inflater_->taken());
  }

  std::size_t memory() const override {
    return sizeof(*this) + sizeof(platform::InputFile) + inflater_->memory() + row_.capacity() + skipped_.capacity();
  }

 private:
  void read_inside(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target) override {
    const auto [planes, rows, columns] = box.shape();
    const Index3& whole = shape();
    const auto voxel = static_cast<std::int64_t>(size_of(element()));
    row_.resize(static_cast<std::size_t>(columns * voxel));
    inflater_->rewind();
    if (last == channels() && box.upper == whole) inflater_->sum_up();
    for (std::int64_t c = first; c < last; ++c) {
      for (std::int64_t x = box.lower[0]; x < box.upper[0]; ++x) {
        for (std::int64_t y = box.lower[1]; y < box.upper[1]; ++y) {
          const std::int64_t at = ((c * whole[0] + x) * whole[1] + y) * whole[2] + box.lower[2];
          inflater_->skip_to(data_ + static_cast<std::uint64_t>(at * voxel), skipped_);
          inflater_->read(row_.data(), row_.size());
          target.write(row_.data(), voxel, target.at(c - first, x - box.lower[0], y - box.lower[1], 0), columns);
        }
      }
    }
    count_bytes(inflater_->taken());
    inflater_->check_sum();
  }

  std::unique_ptr<Inflater> inflater_;
  std::uint64_t data_;  // where the voxels begin in the member
  std::vector<std::byte> row_;
  std::vector<std::byte> skipped_;
};

}  // namespace

std::unique_ptr<Volume> open_npz(const std::filesystem::path& path, const std::string& member) {
  auto file = std::make_unique<platform::InputFile>(path);
  const Member found = ZipReader(*file).find(member + ".npy");
  if (!found.deflated) return NpyVolume::open(std::move(file), found.data, found.compressed);
  auto inflater = std::make_unique<Inflater>(*file, found);
  std::array<std::byte, kNpyPreamble> preamble;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(preamble.size(), found.size));
  inflater->read(preamble.data(), count);
  const NpyText text = npy_text(file->name(), preamble.data(), count);
  if (text.end > found.size) throw StorageError(file->name(), "damaged .npy header: it is longer than the member");
  inflater->rewind();
  std::vector<std::byte> bytes(text.end);
  inflater->read(bytes.data(), bytes.size());
  const NpyHeader header =
      parse_npy_header(file->name(), {reinterpret_cast<const char*>(bytes.data()) + text.begin, text.end - text.begin});
  if (header.fortran_order) {
    throw StorageError(file->name(), "expected member " + member + " in C order, got Fortran order in compressed data");
  }
  const VolumeShape shape = volume_shape(file->name(), header.axes, header.element);
  if (shape.bytes != found.size - text.end) {
    throw StorageError(file->name(), "header of member " + member + " says " + std::to_string(shape.bytes) +
                                         " bytes of voxels, the archive has " + std::to_string(found.size - text.end));
  }
  return std::make_unique<NpzVolume>(std::move(file), std::move(inflater), header.element, shape, text.end);
}

}  // namespace fastnnunet::storage
