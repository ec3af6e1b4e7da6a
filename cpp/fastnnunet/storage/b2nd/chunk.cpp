#include "fastnnunet/storage/b2nd/chunk.h"

#include <blosc2.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "fastnnunet/base/error.h"

namespace fastnnunet::storage {

namespace {

constexpr std::size_t kHeader = BLOSC_EXTENDED_HEADER_LENGTH;
constexpr std::size_t kStart = sizeof(std::int32_t);
// Before 3.3.3, a length of more than 31 bits makes the decoder of BloscLZ write out of bounds. It takes 8,421,505
// bytes.
constexpr bool kBloscLzOverflows =
    BLOSC2_VERSION_MAJOR * 10000 + BLOSC2_VERSION_MINOR * 100 + BLOSC2_VERSION_RELEASE < 30303;
constexpr std::int64_t kMostBloscLz = 8 << 20;

std::int64_t little_endian(const std::byte* bytes) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<std::uint32_t>(bytes[i]);
  return static_cast<std::int32_t>(value);
}

void set_little_endian(std::int64_t value, std::byte* bytes) {
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<std::byte>(value >> 8 * i & 0xff);
}

unsigned at(const std::byte* bytes, int place) { return static_cast<unsigned>(bytes[place]); }

// Decompression of single blocks is serial in c-blosc2 whatever BLOSC_NTHREADS says: its threads share out whole
// chunks.
blosc2_context* make_context(const std::string& file) {
  static const bool initialised = (blosc2_init(), true);
  static_cast<void>(initialised);
  blosc2_dparams parameters = BLOSC2_DPARAMS_DEFAULTS;
  parameters.nthreads = 1;
  blosc2_context* context = blosc2_create_dctx(parameters);
  if (context == nullptr) throw ResourceError(file, "no memory is left for a context of c-blosc2");
  return context;
}

}  // namespace

void ChunkReader::FreeContext::operator()(blosc2_context_s* context) const { blosc2_free_ctx(context); }

ChunkReader::ChunkReader(const platform::InputFile& file) : file_(file), context_(make_context(file.name())) {}

void ChunkReader::name_next(std::string what) { what_ = std::move(what); }

void ChunkReader::name_next(std::int64_t number) {
  what_.clear();
  number_ = number;
}

void ChunkReader::damaged(const std::string& reason) const {
  throw StorageError(file_.name(),
                     "damaged data in " + (what_.empty() ? "chunk " + std::to_string(number_) : what_) + ": " + reason);
}

std::uint64_t ChunkReader::head_bytes(std::int64_t blocks) {
  return kHeader + static_cast<std::uint64_t>(blocks) * kStart;
}

void ChunkReader::open(std::uint64_t offset, std::uint64_t end, std::int64_t uncompressed, std::int64_t block_bytes,
                       std::size_t voxel, Chunk& chunk) {
  if (offset > end || end - offset < kHeader) damaged("it lies outside the file");
  chunk.offset = offset;
  chunk.head.resize(kHeader);
  file_.read(offset, chunk.head.data(), kHeader);
  const std::byte* header = chunk.head.data();
  const unsigned flags = at(header, BLOSC2_CHUNK_FLAGS);
  const unsigned flags2 = at(header, BLOSC2_CHUNK_BLOSC2_FLAGS);
  const std::int64_t size = little_endian(header + BLOSC2_CHUNK_CBYTES);
  const std::int64_t own_block_bytes = little_endian(header + BLOSC2_CHUNK_BLOCKSIZE);
  if ((flags & BLOSC_DOSHUFFLE) == 0 || (flags & BLOSC_DOBITSHUFFLE) == 0) damaged("it has no header of blosc2");
  if (little_endian(header + BLOSC2_CHUNK_NBYTES) != uncompressed) damaged("its size is not that of the others");
  if (size < static_cast<std::int64_t>(kHeader) || static_cast<std::uint64_t>(size) > end - offset) {
    damaged("its compressed size is wrong");
  }
  chunk.size = size;
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
      chunk.kind = Chunk::Kind::constant;
      chunk.head.resize(voxel);
      file_.read(offset + kHeader, chunk.head.data(), voxel);
      return;
    default:
      return make_constant(special, voxel, chunk);
  }
  if (at(header, BLOSC2_CHUNK_TYPESIZE) != voxel) damaged("its voxels have the wrong size");
  chunk.begin.clear();
  chunk.end.clear();
  if ((flags & BLOSC_MEMCPYED) != 0) {
    if (size != static_cast<std::int64_t>(kHeader) + uncompressed) damaged("its compressed size is wrong");
    chunk.kind = Chunk::Kind::plain;
    chunk.block_bytes = block_bytes != 0 ? block_bytes : uncompressed;
    for (std::int64_t at = 0; at < uncompressed; at += chunk.block_bytes) {
      chunk.begin.push_back(static_cast<std::int64_t>(kHeader) + at);
      chunk.end.push_back(chunk.begin.back() + std::min(chunk.block_bytes, uncompressed - at));
    }
    return;
  }
  check_codec(header, flags, flags2);
  const std::int64_t blocks = own_block_bytes > 0 ? (uncompressed - 1) / own_block_bytes + 1 : 0;
  if (block_bytes != 0 && own_block_bytes != block_bytes) damaged("its blocks are not those of the others");
  if (blocks == 0 || blocks > (size - static_cast<std::int64_t>(kHeader)) / 4) damaged("its blocks do not fit");
  chunk.kind = Chunk::Kind::compressed;
  chunk.block_bytes = own_block_bytes;
  read_table(blocks, chunk);
}

// A block ends where another begins, or where the chunk does: they lie in the order in which threads compressed them.
void ChunkReader::read_table(std::int64_t blocks, Chunk& chunk) {
  const auto count = static_cast<std::size_t>(blocks);
  chunk.head.resize(kHeader + count * kStart);
  file_.read(chunk.offset + kHeader, chunk.head.data() + kHeader, count * kStart);
  for (std::size_t i = 0; i < count; ++i) {
    chunk.begin.push_back(little_endian(chunk.head.data() + kHeader + i * kStart));
    if (chunk.begin[i] < static_cast<std::int64_t>(chunk.head.size()) || chunk.begin[i] >= chunk.size)
      damaged("a block lies outside of it");
  }
  sorted_.assign(chunk.begin.begin(), chunk.begin.end());
  sorted_.push_back(chunk.size);
  std::sort(sorted_.begin(), sorted_.end());
  for (std::size_t i = 0; i < count; ++i)
    chunk.end.push_back(*std::upper_bound(sorted_.begin(), sorted_.end(), chunk.begin[i]));
}

// Refuses what the decoder would look up as a plugin, or needs more of the chunk than a block for.
void ChunkReader::check_codec(const std::byte* header, unsigned flags, unsigned flags2) const {
  const unsigned codec = flags >> 5;
  const std::int64_t size = little_endian(header + BLOSC2_CHUNK_CBYTES);
  if (codec != BLOSC_BLOSCLZ_FORMAT && codec != BLOSC_LZ4_FORMAT && codec != BLOSC_ZLIB_FORMAT &&
      codec != BLOSC_ZSTD_FORMAT) {
    damaged("expected codec BloscLZ, LZ4, Zlib or Zstd, got number " + std::to_string(codec));
  }
  if (kBloscLzOverflows && codec == BLOSC_BLOSCLZ_FORMAT && size > kMostBloscLz)
    damaged("expected at most 8 MiB in BloscLZ, got " + std::to_string(size) + " bytes: this build's c-blosc2 " +
            BLOSC2_VERSION_STRING + " writes out of bounds where such data is damaged, 3.3.3 does not");
  if ((flags2 & BLOSC2_USEDICT) != 0) damaged("expected compression without a dictionary");
  for (int i = 0; i < BLOSC2_MAX_FILTERS; ++i) {
    const unsigned filter = at(header, BLOSC2_CHUNK_FILTER_CODES + i);
    if (filter != BLOSC_NOFILTER && filter != BLOSC_SHUFFLE && filter != BLOSC_BITSHUFFLE &&
        filter != BLOSC_TRUNC_PREC) {
      damaged("expected filters shuffle, bitshuffle or trunc_prec, got number " + std::to_string(filter));
    }
  }
}

void ChunkReader::make_constant(unsigned special, std::size_t voxel, Chunk& chunk) const {
  static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  static constexpr double kNanDouble = std::numeric_limits<double>::quiet_NaN();
  special &= BLOSC2_SPECIAL_MASK;
  chunk.kind = Chunk::Kind::constant;
  chunk.head.assign(voxel, std::byte{0});
  if (special == BLOSC2_SPECIAL_NAN) {
    if (voxel != 4 && voxel != 8) damaged("only float32 and float64 can be not-a-number throughout");
    std::memcpy(chunk.head.data(), voxel == 4 ? static_cast<const void*>(&kNan) : &kNanDouble, voxel);
  } else if (special != BLOSC2_SPECIAL_ZERO && special != BLOSC2_SPECIAL_UNINIT) {
    damaged("its special value is unknown");
  }
}

void ChunkReader::load(std::int64_t from, std::int64_t to, Chunk& chunk) const {
  const std::size_t head = chunk.kind == Chunk::Kind::compressed ? chunk.head.size() : 0;
  chunk.loaded.resize(head + static_cast<std::size_t>(to - from));
  std::copy_n(chunk.head.data(), head, chunk.loaded.data());
  file_.read(chunk.offset + static_cast<std::uint64_t>(from), chunk.loaded.data() + head,
             static_cast<std::size_t>(to - from));
  chunk.loaded_from = from;
}

const std::byte* ChunkReader::plain_block(const Chunk& chunk, std::int64_t number) const {
  return chunk.loaded.data() + (chunk.begin[static_cast<std::size_t>(number)] - chunk.loaded_from);
}

void ChunkReader::decompress(Chunk& chunk, std::int64_t number, std::size_t voxel, std::byte* to) const {
  // c-blosc2 is given a chunk that ends with this block. A damaged length inside the block then cannot reach the bytes
  // of other blocks, which depend on what else was requested.
  const std::int64_t shift = static_cast<std::int64_t>(chunk.head.size()) - chunk.loaded_from;
  const std::int64_t begin = shift + chunk.begin[static_cast<std::size_t>(number)];
  const std::int64_t end = shift + chunk.end[static_cast<std::size_t>(number)];
  set_little_endian(begin, chunk.loaded.data() + kHeader + static_cast<std::size_t>(number) * kStart);
  set_little_endian(end, chunk.loaded.data() + BLOSC2_CHUNK_CBYTES);
  const std::int64_t items = chunk.block_bytes / static_cast<std::int64_t>(voxel);
  decompress(chunk, end, number * items, items, voxel, to);
}

void ChunkReader::read_all(Chunk& chunk, std::int64_t items, std::size_t voxel, std::byte* to) const {
  const std::size_t bytes = static_cast<std::size_t>(items) * voxel;
  switch (chunk.kind) {
    case Chunk::Kind::compressed:
      load(static_cast<std::int64_t>(chunk.head.size()), chunk.size, chunk);
      decompress(chunk, chunk.size, 0, items, voxel, to);
      break;
    case Chunk::Kind::plain:
      load(static_cast<std::int64_t>(kHeader), chunk.size, chunk);
      std::copy_n(chunk.loaded.data(), bytes, to);
      break;
    case Chunk::Kind::constant:
      for (std::size_t at = 0; at < bytes; at += voxel) std::copy_n(chunk.head.data(), voxel, to + at);
      break;
  }
}

void ChunkReader::decompress(const Chunk& chunk, std::int64_t size, std::int64_t first, std::int64_t count,
                             std::size_t voxel, std::byte* to) const {
  const auto bytes = static_cast<std::int32_t>(count * static_cast<std::int64_t>(voxel));
  const int result = blosc2_getitem_ctx(context_.get(), chunk.loaded.data(), static_cast<std::int32_t>(size),
                                        static_cast<int>(first), static_cast<int>(count), to, bytes);
  if (result == BLOSC2_ERROR_MEMORY_ALLOC || result == BLOSC2_ERROR_THREAD_CREATE) {
    throw ResourceError(file_.name(),
                        "no memory is left to decompress it (c-blosc2: " + std::string(print_error(result)) + ")");
  }
  if (result < 0) damaged(print_error(result));
  if (result != bytes) damaged("fewer voxels than it should have");
}

}  // namespace fastnnunet::storage
