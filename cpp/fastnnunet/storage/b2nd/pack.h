// The bytes of a .b2nd file, as blosc2's `asarray` would write them from Python. Chunks are compressed on several
// threads; the frame around them is c-blosc2's own.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "fastnnunet/storage/b2nd/header.h"
#include "fastnnunet/storage/element.h"

namespace fastnnunet::storage {

// Voxels of an array (C, X, Y, Z), of its chunks and of the blocks in them.
struct PackLayout {
  Index4 shape{};
  Index4 chunk{};
  Index4 block{};
};

struct PackOptions {
  int codec = 2;  // c-blosc2's number; 2 is LZ4HC
  int level = 5;
  bool shuffle = false;  // the bytes of a block's voxels are sorted by their significance before they are compressed
  int threads = 1;
};

// A frame in memory that c-blosc2 has allocated.
class Packed {
 public:
  Packed(std::byte* bytes, std::size_t size) : bytes_(bytes, &release), size_(size) {}
  const std::byte* data() const { return bytes_.get(); }
  std::size_t size() const { return size_; }

 private:
  static void release(std::byte* bytes);
  std::unique_ptr<std::byte, void (*)(std::byte*)> bytes_;
  std::size_t size_;
};

// Packs `voxels`, in C order. `file` is named in errors. Throws InvalidArgument for chunks and blocks that do not fit,
// ResourceError where memory is missing.
Packed pack_b2nd(const std::string& file, const std::byte* voxels, Element element, const PackLayout& layout,
                 const PackOptions& options);

// The same, with the filter that takes less space, judged as nnU-Net does: by a slab of at most a chunk in the middle.
// Which one `options` names does not matter.
Packed pack_smaller(const std::string& file, const std::byte* voxels, Element element, const PackLayout& layout,
                    const PackOptions& options);

}  // namespace fastnnunet::storage
