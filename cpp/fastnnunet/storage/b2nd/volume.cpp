#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/b2nd/chunk.h"
#include "fastnnunet/storage/b2nd/header.h"
#include "fastnnunet/storage/formats.h"
#include "fastnnunet/storage/stored_volume.h"

namespace fastnnunet::storage {

namespace {

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
  B2ndVolume(std::unique_ptr<platform::InputFile> file, const B2ndHeader& header)
      : StoredVolume(std::move(file), header.element, header.shape.channels, header.shape.shape),
        header_(header),
        voxel_(size_of(header.element)),
        reader_(input()),
        longest_gap_(input().in_parts() ? 0 : static_cast<std::int64_t>(platform::InputFile::kShortGap)),
        kept_(static_cast<std::size_t>(std::min(header.chunks[0], kMostKept))) {
    read_offsets();
  }

  std::optional<Tiling> tiling() const override {
    const auto spatial = [](const Index4& extent) { return Index3{extent[1], extent[2], extent[3]}; };
    return Tiling{spatial(header_.chunk), spatial(header_.block)};
  }

  // c-blosc2 keeps four buffers of a block's size in its context.
  std::size_t memory() const override {
    std::size_t bytes = sizeof(*this) + sizeof(platform::InputFile) + offsets_.capacity() * sizeof(std::int64_t) +
                        block_.capacity() + wanted_.capacity() * sizeof(Wanted) +
                        ranges_.capacity() * sizeof(ByteRange) +
                        (decompressed_ ? 4 * static_cast<std::size_t>(header_.block_bytes) : 0);
    for (const Kept& kept : kept_) bytes += sizeof(Kept) + kept.chunk.memory();
    return bytes;
  }

 private:
  // The chunk that was read last: blocks of a chunk are often asked for one after the other. One for each place along
  // the channels: a box has all of them.
  static constexpr std::int64_t kMostKept = 8;
  struct Kept {
    std::int64_t number = -1;
    Chunk chunk;
  };
  // A block that a box needs, and its first voxel in the chunk.
  struct Wanted {
    std::int64_t number = 0;
    Index4 origin{};
  };

  // The offsets are a chunk themselves, of one int64 for each chunk in C order, in this machine's byte order.
  void read_offsets() {
    const std::int64_t count = header_.chunks[0] * header_.chunks[1] * header_.chunks[2] * header_.chunks[3];
    reader_.name_next("the index of chunks");
    Chunk chunk;
    reader_.open(header_.index, header_.end, count * 8, 0, 8, chunk);
    offsets_.resize(static_cast<std::size_t>(count));
    reader_.read_all(chunk, count, 8, reinterpret_cast<std::byte*>(offsets_.data()));
  }

  // `channel`: of the chunk, among those along the channels.
  Chunk& open_chunk(std::int64_t number, std::int64_t channel) {
    reader_.name_next(number);
    Kept& kept = kept_[static_cast<std::size_t>(channel) % kept_.size()];
    if (kept.number == number) return kept.chunk;
    kept.number = -1;
    find_chunk(number, kept.chunk);
    kept.number = number;
    return kept.chunk;
  }

  void find_chunk(std::int64_t number, Chunk& chunk) {
    const std::int64_t offset = offsets_[static_cast<std::size_t>(number)];
    if (offset >= 0) {
      if (static_cast<std::uint64_t>(offset) > header_.index - header_.data)
        reader_.damaged("it lies outside the file");
      reader_.open(header_.data + static_cast<std::uint64_t>(offset), header_.index, header_.chunk_bytes,
                   header_.block_bytes, voxel_, chunk);
      count_bytes(chunk.head.size());
      return;
    }
    // The sign bit says that the chunk is not in the file, and the same byte says what it is made of.
    reader_.make_constant(static_cast<unsigned>(static_cast<std::uint64_t>(offset) >> 56), voxel_, chunk);
  }

  // First what tells where the blocks are, of all chunks, then the blocks.
  void fetch_inside(const Box& box) override {
    const Index4 lower = {0, box.lower[0], box.lower[1], box.lower[2]};
    const Index4 upper = {channels(), box.upper[0], box.upper[1], box.upper[2]};
    const auto& blocks = header_.blocks;
    const auto head = ChunkReader::head_bytes(blocks[0] * blocks[1] * blocks[2] * blocks[3]);
    ranges_.clear();
    for_each_tile(lower, upper, header_.chunk, header_.chunks, [&](const Index4&, std::int64_t number) {
      const std::int64_t offset = offsets_[static_cast<std::size_t>(number)];
      if (offset < 0) return;
      const std::uint64_t begin = header_.data + static_cast<std::uint64_t>(offset);
      if (begin < header_.index) ranges_.push_back({begin, std::min(begin + head, header_.index)});
    });
    input().fetch(ranges_);
    ranges_.clear();
    for_each_tile(lower, upper, header_.chunk, header_.chunks, [&](const Index4& origin, std::int64_t number) {
      const Chunk& chunk = open_chunk(number, origin[0] / header_.chunk[0]);
      if (chunk.kind == Chunk::Kind::constant) return;
      const Part part = part_of(lower, upper, origin, header_.chunk);
      for_each_tile(part.lower, part.upper, header_.block, header_.blocks, [&](const Index4&, std::int64_t block) {
        const auto at = static_cast<std::size_t>(block);
        ranges_.push_back({chunk.offset + static_cast<std::uint64_t>(chunk.begin[at]),
                           chunk.offset + static_cast<std::uint64_t>(chunk.end[at])});
      });
    });
    input().fetch(ranges_);
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
  void read_chunk(Chunk& chunk, const Part& part, const Index4& corner, const VoxelWriter& target) {
    if (chunk.kind == Chunk::Kind::constant) {
      rows_of(part, corner, target,
              [&](std::int64_t, std::byte* to, std::int64_t count) { target.fill(chunk.head.data(), to, count); });
      return;
    }
    const auto begin = [&](const Wanted& block) { return chunk.begin[static_cast<std::size_t>(block.number)]; };
    const auto end = [&](const Wanted& block) { return chunk.end[static_cast<std::size_t>(block.number)]; };
    wanted_.clear();
    for_each_tile(part.lower, part.upper, header_.block, header_.blocks,
                  [&](const Index4& origin, std::int64_t number) { wanted_.push_back({number, origin}); });
    std::sort(wanted_.begin(), wanted_.end(),
              [&](const Wanted& one, const Wanted& other) { return begin(one) < begin(other); });
    for (std::size_t first = 0, next = 0; first < wanted_.size(); first = next) {
      std::int64_t to = end(wanted_[first]);
      for (next = first + 1; next < wanted_.size(); ++next) {
        if (begin(wanted_[next]) - to > longest_gap_) break;
        to = std::max(to, end(wanted_[next]));
      }
      reader_.load(begin(wanted_[first]), to, chunk);
      count_bytes(static_cast<std::uint64_t>(to - begin(wanted_[first])));
      for (std::size_t i = first; i < next; ++i) read_block(chunk, wanted_[i], part, corner, target);
    }
  }

  void read_block(Chunk& chunk, const Wanted& wanted, const Part& part, const Index4& corner,
                  const VoxelWriter& target) {
    const Index4& block = header_.block;
    const Index4& origin = wanted.origin;
    const Part inner = part_of(part.lower, part.upper, origin, block);
    const Index4 start = {corner[0] + origin[0], corner[1] + origin[1], corner[2] + origin[2], corner[3] + origin[3]};
    if (chunk.kind == Chunk::Kind::plain) {
      write_block(reader_.plain_block(chunk, wanted.number), inner, start, target);
      return;
    }
    const bool straight =
        target.same_type() && block[0] == 1 && inner.whole(block) && target.contiguous({block[1], block[2], block[3]});
    if (!straight && block_.empty()) block_.resize(static_cast<std::size_t>(header_.block_bytes));
    std::byte* to = straight ? target.at(start[0], start[1], start[2], start[3]) : block_.data();
    decompressed_ = true;
    reader_.decompress(chunk, wanted.number, voxel_, to);
    if (!straight) write_block(block_.data(), inner, start, target);
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
  std::int64_t longest_gap_;  // bytes that are read along; none that may have to be fetched
  std::vector<Kept> kept_;
  std::vector<std::int64_t> offsets_;  // of each chunk from header_.data, or what it is made of
  std::vector<Wanted> wanted_;
  std::vector<ByteRange> ranges_;
  std::vector<std::byte> block_;
  bool decompressed_ = false;
};

}  // namespace

std::unique_ptr<Volume> open_b2nd(const std::filesystem::path& path, const std::optional<FileParts>& parts) {
  auto file = std::make_unique<platform::InputFile>(path, parts);
  const B2ndHeader header = read_b2nd_header(*file);
  return std::make_unique<B2ndVolume>(std::move(file), header);
}

}  // namespace fastnnunet::storage
