// The header of a .b2nd file: a contiguous frame of c-blosc2 with the metalayer that describes an array of several
// axes. Both are msgpack; c-blosc2's README_CFRAME_FORMAT, README_CHUNK_FORMAT and README_B2ND_METALAYER describe them.
//
// The array is cut into chunks, the last along an axis padded. A chunk is cut into blocks, again padded, and stores
// them one after the other; within a block the voxels are in C order. Chunks are what the frame's index knows, blocks
// are what is decompressed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/element.h"
#include "fastnnunet/storage/stored_volume.h"

namespace fastnnunet::storage {

using Index4 = std::array<std::int64_t, 4>;  // C, X, Y, Z

struct B2ndHeader {
  Element element = Element::float32;
  VolumeShape shape;
  Index4 chunk{};                // voxels
  Index4 block{};                // voxels
  Index4 chunks{};               // in the array
  Index4 blocks{};               // in a chunk
  std::int64_t chunk_bytes = 0;  // with padding
  std::int64_t block_bytes = 0;
  std::uint64_t data = 0;   // where the chunks begin in the file
  std::uint64_t index = 0;  // where they end and the index of their offsets begins
  std::uint64_t end = 0;    // of the frame
};

// Everything is checked, and against the file's size. Throws StorageError.
B2ndHeader read_b2nd_header(const platform::InputFile& file);

}  // namespace fastnnunet::storage
