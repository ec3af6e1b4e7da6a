// Only the chunk decoder is c-blosc2's. Its own reader of slices decompresses into a buffer of a chunk's size that it
// allocates for every call, and it trusts the file further than a data loader can: codecs and filters with a number of
// their own are looked up as plugins, for which it starts a Python interpreter.
#include <blosc2.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/b2nd_header.h"
#include "fastnnunet/storage/formats.h"
#include "fastnnunet/storage/stored_volume.h"

namespace fastnnunet {

namespace {

std::int64_t little_endian(const std::byte* bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<std::uint32_t>(bytes[i]);
  return static_cast<std::int32_t>(value);
}

unsigned at(const std::byte* bytes, int place) { return static_cast<unsigned>(bytes[place]); }

struct FreeContext {
  void operator()(blosc2_context* context) const { blosc2_free_ctx(context); }
};
using Context = std::unique_ptr<blosc2_context, FreeContext>;

// Decompression of single blocks is serial in c-blosc2 whatever BLOSC_NTHREADS says: its threads share out whole
// chunks.
Context make_context(const std::string& file) {
  static const bool initialised = (blosc2_init(), true);
  static_cast<void>(initialised);
  blosc2_dparams parameters = BLOSC2_DPARAMS_DEFAULTS;
  parameters.nthreads = 1;
  Context context(blosc2_create_dctx(parameters));
  if (context == nullptr) throw ResourceError(file, "no memory is left for a context of c-blosc2");
  return context;
}

// One chunk as it lies in the file.
struct Chunk {
  enum class Kind { compressed, plain, constant };
  Kind kind = Kind::constant;
  const std::byte* bytes = nullptr;  // compressed: with its header; plain: the first block; constant: one voxel
  std::int32_t size = 0;             // compressed: of `bytes`
};

class ChunkReader {
 public:
  ChunkReader(const InputFile& file, Context context) : file_(file), context_(std::move(context)) {}

  // A chunk's header is 32 bytes. `scratch` holds the chunk's bytes where the file is not mapped, so the result is
  // valid as long as they stay. `end` is where no byte of a chunk may lie, `block` the bytes of a block, 0 for any:
  // c-blosc2 takes memory by what the chunk says.
  Chunk open(std::uint64_t offset, std::uint64_t end, std::int64_t uncompressed, std::int64_t block, std::size_t voxel,
             std::vector<std::byte>& scratch) {
    constexpr std::size_t kHeader = BLOSC_EXTENDED_HEADER_LENGTH;
    if (offset > end || end - offset < kHeader) damaged("it lies outside the file");
    file_.prepare(offset, kHeader);
    const std::byte* header = file_.bytes(offset, kHeader, scratch);
    const unsigned flags = at(header, BLOSC2_CHUNK_FLAGS);
    const unsigned flags2 = at(header, BLOSC2_CHUNK_BLOSC2_FLAGS);
    const std::int64_t size = little_endian(header + BLOSC2_CHUNK_CBYTES);
    const std::int64_t block_bytes = little_endian(header + BLOSC2_CHUNK_BLOCKSIZE);
    if ((flags & BLOSC_DOSHUFFLE) == 0 || (flags & BLOSC_DOBITSHUFFLE) == 0) damaged("it has no header of blosc2");
    if (little_endian(header + BLOSC2_CHUNK_NBYTES) != uncompressed) damaged("its size is not that of the others");
    if (size < static_cast<std::int64_t>(kHeader) || static_cast<std::uint64_t>(size) > end - offset) {
      damaged("its compressed size is wrong");
    }
    file_.prepare(offset, static_cast<std::size_t>(size));
    // Variable-length blocks, which arrays do not have, and what is never written to files.
    constexpr unsigned kLazy = 0x08;
    constexpr unsigned kVariableBlocks = 0x01;
    if ((flags2 & (kLazy | BLOSC2_INSTR_CODEC)) != 0 || (at(header, 0x1e) & kVariableBlocks) != 0) {
      damaged("its flags are wrong");
    }
    switch (const unsigned special = flags2 >> 4 & BLOSC2_SPECIAL_MASK; special) {
      case BLOSC2_NO_SPECIAL:
        break;
      case BLOSC2_SPECIAL_VALUE:
        if (size != static_cast<std::int64_t>(kHeader + voxel)) damaged("its repeated value has the wrong size");
        return {Chunk::Kind::constant, file_.bytes(offset, kHeader + voxel, scratch) + kHeader, 0};
      default:
        return constant(special, voxel);
    }
    if (at(header, BLOSC2_CHUNK_TYPESIZE) != voxel) damaged("its voxels have the wrong size");
    if ((flags & BLOSC_MEMCPYED) != 0) {
      if (size != static_cast<std::int64_t>(kHeader) + uncompressed) damaged("its compressed size is wrong");
      return {Chunk::Kind::plain, file_.bytes(offset, static_cast<std::size_t>(size), scratch) + kHeader, 0};
    }
    check_codec(header, flags, flags2);
    const std::int64_t blocks = block_bytes > 0 ? (uncompressed - 1) / block_bytes + 1 : 0;
    if (block != 0 && block_bytes != block) damaged("its blocks are not those of the others");
    if (blocks == 0 || blocks > (size - static_cast<std::int64_t>(kHeader)) / 4) damaged("its blocks do not fit");
    return {Chunk::Kind::compressed, file_.bytes(offset, static_cast<std::size_t>(size), scratch),
            static_cast<std::int32_t>(size)};
  }

  // Zeros, not-a-number or not initialised, for which zero is as good as any value and the same every time.
  Chunk constant(unsigned special, std::size_t voxel) {
    static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    static constexpr double kNanDouble = std::numeric_limits<double>::quiet_NaN();
    static constexpr double kZero = 0;
    const void* value = &kZero;
    if (special == BLOSC2_SPECIAL_NAN) {
      if (voxel != 4 && voxel != 8) damaged("only float32 and float64 can be not-a-number throughout");
      value = voxel == 4 ? static_cast<const void*>(&kNan) : &kNanDouble;
    } else if (special != BLOSC2_SPECIAL_ZERO && special != BLOSC2_SPECIAL_UNINIT) {
      damaged("its special value is unknown");
    }
    return {Chunk::Kind::constant, static_cast<const std::byte*>(value), 0};
  }

  // Items [first, first + count) of a compressed chunk. Where they are one block, it is decompressed into `to` itself.
  void decompress(const Chunk& chunk, std::int64_t first, std::int64_t count, std::size_t voxel, std::byte* to) {
    const auto bytes = static_cast<std::int32_t>(count * static_cast<std::int64_t>(voxel));
    const int result = blosc2_getitem_ctx(context_.get(), chunk.bytes, chunk.size, static_cast<int>(first),
                                          static_cast<int>(count), to, bytes);
    if (result == BLOSC2_ERROR_MEMORY_ALLOC || result == BLOSC2_ERROR_THREAD_CREATE) {
      throw ResourceError(file_.name(),
                          "no memory is left to decompress it (c-blosc2: " + std::string(print_error(result)) + ")");
    }
    if (result < 0) damaged(print_error(result));
    if (result != bytes) damaged("fewer voxels than it should have");
  }

  void name_next(std::string what) { what_ = std::move(what); }
  void name_next(std::int64_t number) {
    what_.clear();
    number_ = number;
  }

  [[noreturn]] void damaged(const std::string& reason) const {
    throw StorageError(file_.name(), "damaged data in " + (what_.empty() ? "chunk " + std::to_string(number_) : what_) +
                                         ": " + reason);
  }

 private:
  // What the decoder would look up as a plugin, or needs more of the chunk than a block for.
  void check_codec(const std::byte* header, unsigned flags, unsigned flags2) const {
    const unsigned codec = flags >> 5;
    if (codec != BLOSC_BLOSCLZ_FORMAT && codec != BLOSC_LZ4_FORMAT && codec != BLOSC_ZLIB_FORMAT &&
        codec != BLOSC_ZSTD_FORMAT) {
      damaged("expected codec BloscLZ, LZ4, Zlib or Zstd, got number " + std::to_string(codec));
    }
#ifdef FASTNNUNET_WITHOUT_BLOSCLZ
    if (codec == BLOSC_BLOSCLZ_FORMAT)
      damaged("expected codec LZ4, Zlib or Zstd, got BloscLZ: this build's c-blosc2 " BLOSC2_VERSION_STRING
              " writes out of bounds where such data is damaged, 3.3.3 does not");
#endif
    if ((flags2 & BLOSC2_USEDICT) != 0) damaged("expected compression without a dictionary");
    for (int i = 0; i < BLOSC2_MAX_FILTERS; ++i) {
      const unsigned filter = at(header, BLOSC2_CHUNK_FILTER_CODES + i);
      if (filter != BLOSC_NOFILTER && filter != BLOSC_SHUFFLE && filter != BLOSC_BITSHUFFLE &&
          filter != BLOSC_TRUNC_PREC) {
        damaged("expected filters shuffle, bitshuffle or trunc_prec, got number " + std::to_string(filter));
      }
    }
  }

  const InputFile& file_;
  Context context_;
  std::string what_;
  std::int64_t number_ = 0;
};

// The part of [lower, upper) that lies in a tile of `extent` at `origin`, counted from the tile's corner.
struct Part {
  Index4 lower{};
  Index4 upper{};
  bool whole(const Index4& extent) const { return lower == Index4{} && upper == extent; }
};
Part part_of(const Index4& lower, const Index4& upper, const Index4& origin, const Index4& extent) {
  Part part;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    part.lower[axis] = std::max<std::int64_t>(lower[axis] - origin[axis], 0);
    part.upper[axis] = std::min(upper[axis] - origin[axis], extent[axis]);
  }
  return part;
}

// Calls visit(origin, number) for every tile of `extent` that [lower, upper) touches, tiles being numbered in C order
// in a grid of `tiles`.
template <typename Visit>
void for_each_tile(const Index4& lower, const Index4& upper, const Index4& extent, const Index4& tiles, Visit visit) {
  Index4 first;
  Index4 last;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    first[axis] = lower[axis] / extent[axis];
    last[axis] = (upper[axis] - 1) / extent[axis];
  }
  for (std::int64_t c = first[0]; c <= last[0]; ++c) {
    for (std::int64_t x = first[1]; x <= last[1]; ++x) {
      for (std::int64_t y = first[2]; y <= last[2]; ++y) {
        for (std::int64_t z = first[3]; z <= last[3]; ++z) {
          visit(Index4{c * extent[0], x * extent[1], y * extent[2], z * extent[3]},
                ((c * tiles[1] + x) * tiles[2] + y) * tiles[3] + z);
        }
      }
    }
  }
}

class B2ndVolume final : public StoredVolume {
 public:
  B2ndVolume(std::unique_ptr<InputFile> file, const B2ndHeader& header)
      : StoredVolume(std::move(file), header.element, header.shape.channels, header.shape.shape),
        header_(header),
        voxel_(size_of(header.element)),
        reader_(input(), make_context(this->file())),
        kept_(static_cast<std::size_t>(std::min(header.chunks[0], kMostKept))) {
    read_offsets();
  }

  std::optional<Tiling> tiling() const override {
    const auto spatial = [](const Index4& extent) { return Index3{extent[1], extent[2], extent[3]}; };
    return Tiling{spatial(header_.chunk), spatial(header_.block)};
  }

  // c-blosc2 keeps four buffers of a block's size in its context.
  std::size_t memory() const override {
    std::size_t bytes = sizeof(*this) + sizeof(InputFile) + offsets_.capacity() * sizeof(std::int64_t) +
                        block_.capacity() + (decompressed_ ? 4 * static_cast<std::size_t>(header_.block_bytes) : 0);
    for (const Kept& kept : kept_) bytes += sizeof(Kept) + kept.bytes.capacity();
    return bytes;
  }

 private:
  // Where the file is not mapped, the bytes of the chunk that was read last, for the blocks of a chunk are often asked
  // for one after the other. One for each place along the channels: a box has all of them.
  static constexpr std::int64_t kMostKept = 8;
  struct Kept {
    std::int64_t number = -1;
    Chunk chunk;
    std::vector<std::byte> bytes;
  };

  // The offsets are a chunk themselves, of one int64 for each chunk in C order, in this machine's byte order.
  void read_offsets() {
    const std::int64_t count = header_.chunks[0] * header_.chunks[1] * header_.chunks[2] * header_.chunks[3];
    reader_.name_next("the index of chunks");
    const Chunk chunk = reader_.open(header_.index, header_.end, count * 8, 0, 8, kept_[0].bytes);
    offsets_.resize(static_cast<std::size_t>(count));
    auto* to = reinterpret_cast<std::byte*>(offsets_.data());
    switch (chunk.kind) {
      case Chunk::Kind::compressed:
        reader_.decompress(chunk, 0, count, 8, to);
        break;
      case Chunk::Kind::plain:
        std::memcpy(to, chunk.bytes, offsets_.size() * 8);
        break;
      case Chunk::Kind::constant:
        std::int64_t value;
        std::memcpy(&value, chunk.bytes, 8);
        std::fill(offsets_.begin(), offsets_.end(), value);
        break;
    }
  }

  // `channel`: of the chunk, among those along the channels.
  Chunk open_chunk(std::int64_t number, std::int64_t channel) {
    reader_.name_next(number);
    Kept& kept = kept_[static_cast<std::size_t>(channel) % kept_.size()];
    if (kept.number == number) return kept.chunk;
    kept.number = -1;
    const Chunk chunk = find_chunk(number, kept.bytes);
    if (input().mapped()) return chunk;
    kept.chunk = chunk;
    kept.number = number;
    if (chunk.kind != Chunk::Kind::constant) count_bytes(static_cast<std::uint64_t>(bytes_of(chunk)));
    return chunk;
  }

  // As it lies in the file.
  std::int64_t bytes_of(const Chunk& chunk) const {
    return chunk.kind == Chunk::Kind::plain ? header_.chunk_bytes : chunk.size;
  }

  Chunk find_chunk(std::int64_t number, std::vector<std::byte>& scratch) {
    const std::int64_t offset = offsets_[static_cast<std::size_t>(number)];
    if (offset >= 0) {
      if (static_cast<std::uint64_t>(offset) > header_.index - header_.data)
        reader_.damaged("it lies outside the file");
      return reader_.open(header_.data + static_cast<std::uint64_t>(offset), header_.index, header_.chunk_bytes,
                          header_.block_bytes, voxel_, scratch);
    }
    // The sign bit says that the chunk is not in the file, and the same byte says what it is made of.
    return reader_.constant(static_cast<unsigned>(static_cast<std::uint64_t>(offset) >> 56 & BLOSC2_SPECIAL_MASK),
                            voxel_);
  }

  void read_inside(std::int64_t first, std::int64_t last, const Box& box, const VoxelWriter& target) override {
    const Index4 lower = {first, box.lower[0], box.lower[1], box.lower[2]};
    const Index4 upper = {last, box.upper[0], box.upper[1], box.upper[2]};
    for_each_tile(lower, upper, header_.chunk, header_.chunks, [&](const Index4& origin, std::int64_t number) {
      const Part part = part_of(lower, upper, origin, header_.chunk);
      // Of the chunk's corner in the region that is asked for.
      const Index4 corner = {origin[0] - lower[0], origin[1] - lower[1], origin[2] - lower[2], origin[3] - lower[3]};
      read_chunk(open_chunk(number, origin[0] / header_.chunk[0]), part, corner, target);
    });
  }

  // `part` counts from the chunk's corner.
  void read_chunk(const Chunk& chunk, const Part& part, const Index4& corner, const VoxelWriter& target) {
    if (chunk.kind == Chunk::Kind::constant) {
      rows_of(part, corner, target,
              [&](std::int64_t, std::byte* to, std::int64_t count) { target.fill(chunk.bytes, to, count); });
      return;
    }
    const Index4& block = header_.block;
    const std::int64_t block_voxels = header_.block_bytes / static_cast<std::int64_t>(voxel_);
    const std::int64_t blocks = header_.blocks[0] * header_.blocks[1] * header_.blocks[2] * header_.blocks[3];
    std::int64_t used = 0;  // of those in the file
    for_each_tile(part.lower, part.upper, block, header_.blocks, [&](const Index4& origin, std::int64_t number) {
      const Part inner = part_of(part.lower, part.upper, origin, block);
      const Index4 start = {corner[0] + origin[0], corner[1] + origin[1], corner[2] + origin[2], corner[3] + origin[3]};
      if (chunk.kind == Chunk::Kind::plain) {
        ++used;
        write_block(chunk.bytes + number * header_.block_bytes, inner, start, target);
        return;
      }
      ++used;
      const bool straight = target.same_type() && block[0] == 1 && inner.whole(block) &&
                            target.contiguous({block[1], block[2], block[3]});
      if (!straight && block_.empty()) block_.resize(static_cast<std::size_t>(header_.block_bytes));
      std::byte* to = straight ? target.at(start[0], start[1], start[2], start[3]) : block_.data();
      decompressed_ = true;
      reader_.decompress(chunk, number * block_voxels, block_voxels, voxel_, to);
      if (straight) return;
      write_block(block_.data(), inner, start, target);
    });
    // Blocks differ in compressed size; their mean stands for each.
    if (input().mapped()) count_bytes(static_cast<std::uint64_t>(bytes_of(chunk) * used / blocks));
  }

  void write_block(const std::byte* block, const Part& part, const Index4& corner, const VoxelWriter& target) const {
    rows_of(part, corner, target, [&](std::int64_t voxel, std::byte* row, std::int64_t count) {
      const std::byte* from = block + voxel * static_cast<std::int64_t>(voxel_);
      if (target.same_type())
        std::memcpy(row, from, static_cast<std::size_t>(count) * voxel_);
      else
        target.write(from, static_cast<std::ptrdiff_t>(voxel_), row, count);
    });
  }

  // Calls row(voxel, to, count) for the rows of a part of a tile; `voxel` is the row's first, counted in a block.
  template <typename Row>
  void rows_of(const Part& part, const Index4& corner, const VoxelWriter& target, Row row) const {
    const Index4& block = header_.block;
    for (std::int64_t c = part.lower[0]; c < part.upper[0]; ++c) {
      for (std::int64_t x = part.lower[1]; x < part.upper[1]; ++x) {
        for (std::int64_t y = part.lower[2]; y < part.upper[2]; ++y) {
          const std::int64_t z = part.lower[3];
          row(((c * block[1] + x) * block[2] + y) * block[3] + z,
              target.at(corner[0] + c, corner[1] + x, corner[2] + y, corner[3] + z), part.upper[3] - z);
        }
      }
    }
  }

  B2ndHeader header_;
  std::size_t voxel_;
  ChunkReader reader_;
  std::vector<Kept> kept_;
  std::vector<std::int64_t> offsets_;  // of each chunk from header_.data, or what it is made of
  std::vector<std::byte> block_;
  bool decompressed_ = false;
};

}  // namespace

std::unique_ptr<Volume> open_b2nd(const std::filesystem::path& path, FileAccess access) {
  auto file = std::make_unique<InputFile>(path, access);
  const B2ndHeader header = read_b2nd_header(*file);
  return std::make_unique<B2ndVolume>(std::move(file), header);
}

}  // namespace fastnnunet
