#include "fastnnunet/storage/b2nd/pack.h"

#include <b2nd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/parallel.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/storage/b2nd/lz4_bound.h"

namespace fastnnunet::storage {

namespace {

std::string text_of(const Index4& values) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < 4; ++axis) text.append(axis == 0 ? "" : ", ").append(std::to_string(values[axis]));
  return text.append(")");
}

// NumPy's notation. Voxels are written in this machine's order, which is little-endian wherever this is built.
const char* dtype_of(Element element) {
  switch (element) {
    case Element::boolean:
      return "|b1";
    case Element::int8:
      return "|i1";
    case Element::uint8:
      return "|u1";
    case Element::int16:
      return "<i2";
    case Element::uint16:
      return "<u2";
    case Element::int32:
      return "<i4";
    case Element::uint32:
      return "<u4";
    case Element::int64:
      return "<i8";
    case Element::uint64:
      return "<u8";
    case Element::float16:
      return "<f2";
    case Element::float32:
      return "<f4";
    case Element::float64:
      return "<f8";
  }
  return "";
}

// What follows from a layout.
struct Grid {
  Index4 chunks{};  // in the array
  Index4 blocks{};  // in a chunk
  std::int64_t count = 1;
  std::int64_t block_bytes = 0;
  std::int64_t chunk_bytes = 0;  // with padding

  Grid(const PackLayout& layout, std::size_t voxel) {
    std::int64_t in_block = 1, in_chunk = 1;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      const std::int64_t shape = layout.shape[axis], chunk = layout.chunk[axis], block = layout.block[axis];
      if (shape < 1) throw InvalidArgument("shape", "positive sizes", text_of(layout.shape));
      if (block < 1 || block > chunk)
        throw InvalidArgument("blocks", "sizes from 1 to those of chunks " + text_of(layout.chunk),
                              text_of(layout.block));
      chunks[axis] = (shape - 1) / chunk + 1;
      blocks[axis] = (chunk - 1) / block + 1;
      count *= chunks[axis];
      in_block *= block;
      in_chunk *= blocks[axis] * block;
      if (in_chunk > BLOSC2_MAX_BUFFERSIZE / static_cast<std::int64_t>(voxel))
        throw InvalidArgument("chunks", "at most " + std::to_string(BLOSC2_MAX_BUFFERSIZE) + " bytes",
                              text_of(layout.chunk));
    }
    block_bytes = in_block * static_cast<std::int64_t>(voxel);
    chunk_bytes = in_chunk * static_cast<std::int64_t>(voxel);
  }
};

// Copies the chunk whose first voxel is `origin` block after block, as it is stored. What lies outside of the array or
// of the chunk becomes zero.
void gather_chunk(const std::byte* voxels, std::size_t voxel, const PackLayout& layout, const Grid& grid,
                  const Index4& origin, std::byte* out) {
  const Index4 &shape = layout.shape, &block = layout.block;
  Index4 limit;  // of the chunk's voxels in the array
  for (std::size_t axis = 0; axis < 4; ++axis) limit[axis] = std::min(shape[axis], origin[axis] + layout.chunk[axis]);
  const auto row_bytes = static_cast<std::size_t>(block[3]) * voxel;
  Index4 b;
  for (b[0] = 0; b[0] < grid.blocks[0]; ++b[0])
    for (b[1] = 0; b[1] < grid.blocks[1]; ++b[1])
      for (b[2] = 0; b[2] < grid.blocks[2]; ++b[2])
        for (b[3] = 0; b[3] < grid.blocks[3]; ++b[3]) {
          Index4 at;
          for (std::size_t axis = 0; axis < 4; ++axis) at[axis] = origin[axis] + b[axis] * block[axis];
          const std::int64_t z_count = std::clamp<std::int64_t>(limit[3] - at[3], 0, block[3]);
          const auto filled = static_cast<std::size_t>(z_count) * voxel;
          for (std::int64_t c = at[0]; c < at[0] + block[0]; ++c)
            for (std::int64_t x = at[1]; x < at[1] + block[1]; ++x)
              for (std::int64_t y = at[2]; y < at[2] + block[2]; ++y, out += row_bytes) {
                const bool inside = c < limit[0] && x < limit[1] && y < limit[2];
                const std::size_t bytes = inside ? filled : 0;
                if (bytes > 0)
                  std::memcpy(
                      out,
                      voxels + static_cast<std::size_t>(((c * shape[1] + x) * shape[2] + y) * shape[3] + at[3]) * voxel,
                      bytes);
                std::memset(out + bytes, 0, row_bytes - bytes);
              }
        }
}

blosc2_cparams parameters_of(const PackOptions& options, std::size_t voxel, std::int64_t block_bytes) {
  blosc2_cparams parameters = BLOSC2_CPARAMS_DEFAULTS;
  parameters.typesize = static_cast<std::int32_t>(voxel);
  parameters.compcode = static_cast<std::uint8_t>(options.codec);
  parameters.clevel = static_cast<std::uint8_t>(options.level);
  parameters.nthreads = 1;
  parameters.blocksize = static_cast<std::int32_t>(block_bytes);
  parameters.splitmode = BLOSC_AUTO_SPLIT;
  std::fill(std::begin(parameters.filters), std::end(parameters.filters), std::uint8_t{BLOSC_NOFILTER});
  // The one filter that blosc2 is given in Python is the first of its six.
  parameters.filters[0] = options.shuffle ? BLOSC_SHUFFLE : BLOSC_NOFILTER;
  return parameters;
}

struct FreeContext {
  void operator()(blosc2_context* context) const { blosc2_free_ctx(context); }
};

// Compresses chunks, one after the other.
class Compressor {
 public:
  Compressor(const std::string& file, const PackOptions& options, std::size_t voxel, const Grid& grid)
      : file_(file), bytes_(grid.chunk_bytes), block_(grid.block_bytes) {
    static const bool initialised = (blosc2_init(), true);
    static_cast<void>(initialised);
    context_.reset(blosc2_create_cctx(parameters_of(options, voxel, grid.block_bytes)));
    if (!context_) throw ResourceError(file, "no memory is left for a context of c-blosc2");
    plain_ = buffer_.reserve<std::byte>(static_cast<std::size_t>(2 * bytes_ + BLOSC2_MAX_OVERHEAD));
  }

  std::byte* plain() const { return plain_; }
  std::byte* packed() const { return plain_ + bytes_; }
  std::int64_t most() const { return bytes_ + BLOSC2_MAX_OVERHEAD; }

  // Bytes that the chunk in plain() takes in packed().
  std::int32_t compress() {
    const std::int32_t size = compress_within(most());
    if (size == 0) failed(0);
    return size;
  }

  // The same, or 0 where it may take more than `limit` bytes.
  std::int32_t compress_within(std::int64_t limit) { return compress_part(0, bytes_, std::min(limit, most())); }

  // For LZ4HC, which makes one stream of a block: whether the chunk surely takes fewer bytes than `limit`. Blocks are
  // compressed in parts of the chunk, until it would be so even if c-blosc2 stored the others as they are.
  bool parts_within(std::int64_t limit) {
    const std::int64_t blocks = bytes_ / block_, step = std::max<std::int64_t>(1, blocks / 8) * block_;
    std::int64_t most_bytes = bytes_ + kAroundBlock * blocks + kAroundChunk;
    for (std::int64_t begin = 0; begin < bytes_ && most_bytes >= limit; begin += step) {
      const std::int64_t part = std::min(step, bytes_ - begin);
      most_bytes += compress_part(begin, part, part + BLOSC2_MAX_OVERHEAD) - part;
    }
    return most_bytes < limit;
  }

 private:
  static constexpr std::int64_t kAroundBlock = 8;  // where it begins, and its size
  static constexpr std::int64_t kAroundChunk = 64;

  std::int32_t compress_part(std::int64_t begin, std::int64_t size, std::int64_t limit) {
    const int made = blosc2_compress_ctx(context_.get(), plain() + begin, static_cast<std::int32_t>(size), packed(),
                                         static_cast<std::int32_t>(limit));
    if (made < 0) failed(made);
    return made;
  }

  [[noreturn]] void failed(int code) const {
    throw ResourceError(file_, "cannot be compressed (c-blosc2: " + std::string(print_error(code)) + ")");
  }

  const std::string& file_;
  std::int64_t bytes_, block_;
  std::unique_ptr<blosc2_context, FreeContext> context_;
  platform::Buffer buffer_;
  std::byte* plain_ = nullptr;
};

// An array of c-blosc2 in memory, without chunks.
class Frame {
 public:
  Frame(const std::string& file, Element element, const PackLayout& layout, const PackOptions& options,
        const Grid& grid)
      : file_(file), parameters_(parameters_of(options, size_of(element), grid.block_bytes)) {
    storage_.cparams = &parameters_;
    storage_.contiguous = false;  // the chunks are put together once, at the end
    std::array<std::int32_t, 4> chunk, block;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      chunk[axis] = static_cast<std::int32_t>(layout.chunk[axis]);
      block[axis] = static_cast<std::int32_t>(layout.block[axis]);
    }
    context_.reset(b2nd_create_ctx(&storage_, 4, layout.shape.data(), chunk.data(), block.data(), dtype_of(element),
                                   DTYPE_NUMPY_FORMAT, nullptr, 0));
    if (!context_) throw ResourceError(file, "no memory is left for an array of c-blosc2");
    b2nd_array_t* array = nullptr;
    require(b2nd_uninit(context_.get(), &array));
    array_.reset(array);
  }

  // Of a chunk that malloc() has allocated; it belongs to the frame then.
  void give(std::int64_t number, std::byte* chunk) {
    require(blosc2_schunk_update_chunk(array_->sc, number, reinterpret_cast<std::uint8_t*>(chunk), false));
  }

  Packed bytes() {
    std::uint8_t* data = nullptr;
    bool owned = false;
    const std::int64_t size = blosc2_schunk_to_buffer(array_->sc, &data, &owned);
    require(size);
    auto* bytes = reinterpret_cast<std::byte*>(data);
    if (owned) return {bytes, static_cast<std::size_t>(size)};
    auto* copy = static_cast<std::byte*>(std::malloc(static_cast<std::size_t>(size)));
    if (copy == nullptr) throw ResourceError(file_, "no memory is left for its bytes");
    std::memcpy(copy, bytes, static_cast<std::size_t>(size));
    return {copy, static_cast<std::size_t>(size)};
  }

 private:
  struct FreeB2nd {
    void operator()(b2nd_context_t* context) const { b2nd_free_ctx(context); }
    void operator()(b2nd_array_t* array) const { b2nd_free(array); }
  };

  void require(std::int64_t result) const {
    if (result < 0)
      throw ResourceError(file_,
                          "cannot be packed (c-blosc2: " + std::string(print_error(static_cast<int>(result))) + ")");
  }

  const std::string& file_;
  blosc2_cparams parameters_;
  blosc2_storage storage_ = BLOSC2_STORAGE_DEFAULTS;
  std::unique_ptr<b2nd_context_t, FreeB2nd> context_;
  std::unique_ptr<b2nd_array_t, FreeB2nd> array_;
};

struct FreeBytes {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};

// A compressed chunk; none where it was not kept.
using Chunk = std::unique_ptr<std::byte, FreeBytes>;

Chunk copy_of(const std::string& file, const std::byte* packed, std::int32_t size) {
  Chunk chunk(static_cast<std::byte*>(std::malloc(static_cast<std::size_t>(size))));
  if (!chunk) throw ResourceError(file, "no memory is left for its chunks");
  std::memcpy(chunk.get(), packed, static_cast<std::size_t>(size));
  return chunk;
}

// A filter, and the chunk of the array that was compressed to find it.
struct Choice {
  bool shuffle = false;
  std::int64_t number = -1;
  Chunk chunk;
};

// The filter that makes a slab of at most a chunk, in the middle of the array, smaller: nnU-Net's rule.
Choice choose(const std::string& file, const std::byte* voxels, Element element, const PackLayout& layout,
              const PackOptions& options) {
  const std::size_t voxel = size_of(element);
  const Grid whole(layout, voxel);
  PackLayout slab = layout;
  Index4 origin;
  Choice choice;
  choice.number = 0;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    slab.chunk[axis] = std::min(layout.chunk[axis], layout.shape[axis]);
    slab.block[axis] = std::min(layout.block[axis], slab.chunk[axis]);
    origin[axis] = (layout.shape[axis] - slab.chunk[axis]) / 2;
    const bool is_chunk = slab.chunk[axis] == layout.chunk[axis] && slab.block[axis] == layout.block[axis] &&
                          origin[axis] % layout.chunk[axis] == 0;
    if (!is_chunk || choice.number < 0)
      choice.number = -1;
    else
      choice.number = choice.number * whole.chunks[axis] + origin[axis] / layout.chunk[axis];
  }
  const Grid grid(slab, voxel);
  PackOptions tried = options;
  tried.shuffle = true;
  Compressor shuffled(file, tried, voxel, grid);
  gather_chunk(voxels, voxel, slab, grid, origin, shuffled.plain());
  const bool is_lz4 = options.codec == BLOSC_LZ4 || options.codec == BLOSC_LZ4HC;
  const std::int64_t least = is_lz4 ? least_lz4_bytes(shuffled.plain(), grid.chunk_bytes, grid.block_bytes) : 0;
  choice.shuffle = true;
  if (choice.number < 0 && options.codec == BLOSC_LZ4HC && shuffled.parts_within(least)) return choice;
  const std::int32_t size = shuffled.compress();
  std::int32_t other = 0;
  std::optional<Compressor> plain;
  if (size >= least) {
    tried.shuffle = false;
    plain.emplace(file, tried, voxel, grid);
    std::memcpy(plain->plain(), shuffled.plain(), static_cast<std::size_t>(grid.chunk_bytes));
    // What is larger need not be compressed to its end. LZ4 may give up within this distance of a limit.
    other = plain->compress_within(size + grid.block_bytes / 64 + 256);
    choice.shuffle = other == 0 || size < other;
  }
  if (choice.number >= 0)
    choice.chunk = choice.shuffle ? copy_of(file, shuffled.packed(), size) : copy_of(file, plain->packed(), other);
  return choice;
}

Packed packed_with(const std::string& file, const std::byte* voxels, Element element, const PackLayout& layout,
                   const PackOptions& options, Choice done) {
  const std::size_t voxel = size_of(element);
  const Grid grid(layout, voxel);
  std::vector<Chunk> chunks(static_cast<std::size_t>(grid.count));
  if (done.chunk) chunks[static_cast<std::size_t>(done.number)] = std::move(done.chunk);
  base::parallel_for(options.threads, grid.count, [&](std::int64_t begin, std::int64_t end) {
    std::optional<Compressor> compressor;
    for (std::int64_t number = begin; number < end; ++number) {
      auto& chunk = chunks[static_cast<std::size_t>(number)];
      if (chunk) continue;
      if (!compressor) compressor.emplace(file, options, voxel, grid);
      Index4 origin;
      std::int64_t left = number;
      for (std::size_t axis = 4; axis-- > 0; left /= grid.chunks[axis])
        origin[axis] = left % grid.chunks[axis] * layout.chunk[axis];
      gather_chunk(voxels, voxel, layout, grid, origin, compressor->plain());
      const std::int32_t size = compressor->compress();
      chunk = copy_of(file, compressor->packed(), size);
    }
  });
  Frame frame(file, element, layout, options, grid);
  for (std::int64_t number = 0; number < grid.count; ++number)
    frame.give(number, chunks[static_cast<std::size_t>(number)].release());
  return frame.bytes();
}

}  // namespace

void Packed::release(std::byte* bytes) { std::free(bytes); }

Packed pack_b2nd(const std::string& file, const std::byte* voxels, Element element, const PackLayout& layout,
                 const PackOptions& options) {
  return packed_with(file, voxels, element, layout, options, {});
}

Packed pack_smaller(const std::string& file, const std::byte* voxels, Element element, const PackLayout& layout,
                    const PackOptions& options) {
  Choice choice = choose(file, voxels, element, layout, options);
  PackOptions chosen = options;
  chosen.shuffle = choice.shuffle;
  return packed_with(file, voxels, element, layout, chosen, std::move(choice));
}

}  // namespace fastnnunet::storage
