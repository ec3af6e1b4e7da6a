// The chunks of a .b2nd file, and their blocks one by one. Only the decoder of blocks is c-blosc2's. Its own reader of
// slices decompresses into a buffer of a chunk's size that it allocates for every call, and it trusts the file further
// than a data loader can: codecs and filters with a number of their own are looked up as plugins, for which it starts a
// Python interpreter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fastnnunet/platform/input_file.h"

struct blosc2_context_s;

namespace fastnnunet::storage {

// What is known of a chunk before its blocks are read, and the bytes of those that were read last.
struct Chunk {
  enum class Kind { compressed, plain, constant };
  Kind kind = Kind::constant;
  std::uint64_t offset = 0;         // in the file
  std::int64_t size = 0;            // in the file
  std::int64_t block_bytes = 0;     // decompressed
  std::vector<std::int64_t> begin;  // of each block's bytes, counted from `offset`
  std::vector<std::int64_t> end;
  std::vector<std::byte> head;    // compressed: the header and the table of the blocks' beginnings; constant: one voxel
  std::vector<std::byte> loaded;  // compressed: `head`, and behind it the bytes from `loaded_from`; plain: those bytes
  std::int64_t loaded_from = 0;   // counted from `offset`

  std::size_t memory() const {
    return (begin.capacity() + end.capacity()) * sizeof(std::int64_t) + head.capacity() + loaded.capacity();
  }
};

// Errors are StorageErrors that name the chunk, or ResourceErrors.
class ChunkReader {
 public:
  // `file` must outlive it.
  explicit ChunkReader(const platform::InputFile& file);

  // What the next errors are about: the index of chunks, or a chunk by its number.
  void name_next(std::string what);
  void name_next(std::int64_t number);
  [[noreturn]] void damaged(const std::string& reason) const;

  // Of the header and the table of a chunk with so many blocks, from its offset on.
  static std::uint64_t head_bytes(std::int64_t blocks);

  // Reads a chunk's header and the table of its blocks. `end` is where no byte of a chunk may lie, `block_bytes` what a
  // block has to have, 0 for any: c-blosc2 takes memory by what the chunk says. `voxel`: bytes of a voxel.
  void open(std::uint64_t offset, std::uint64_t end, std::int64_t uncompressed, std::int64_t block_bytes,
            std::size_t voxel, Chunk& chunk);
  // A chunk that is not in the file: zeros, not-a-number, or not initialised, for which zero is as good as any value
  // and the same every time.
  void make_constant(unsigned special, std::size_t voxel, Chunk& chunk) const;

  // Reads the bytes [from, to) of a chunk, which are whole blocks, in place of those that were read before.
  void load(std::int64_t from, std::int64_t to, Chunk& chunk) const;
  // A block that was loaded: of a plain chunk as it lies there, of a compressed one decompressed to `to`.
  const std::byte* plain_block(const Chunk& chunk, std::int64_t number) const;
  void decompress(Chunk& chunk, std::int64_t number, std::size_t voxel, std::byte* to) const;

  // All `items` of a chunk, of whatever kind.
  void read_all(Chunk& chunk, std::int64_t items, std::size_t voxel, std::byte* to) const;

 private:
  struct FreeContext {
    void operator()(blosc2_context_s* context) const;
  };

  void read_table(std::int64_t blocks, Chunk& chunk);
  void check_codec(const std::byte* header, unsigned flags, unsigned flags2) const;
  // Items [first, first + count) of the chunk that lies in the first `size` bytes of what was loaded.
  void decompress(const Chunk& chunk, std::int64_t size, std::int64_t first, std::int64_t count, std::size_t voxel,
                  std::byte* to) const;

  const platform::InputFile& file_;
  std::unique_ptr<blosc2_context_s, FreeContext> context_;
  std::vector<std::int64_t> sorted_;
  std::string what_;
  std::int64_t number_ = 0;
};

}  // namespace fastnnunet::storage
