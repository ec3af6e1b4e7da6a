// The header of NumPy's .npy format, versions 1 to 3: magic, version, length, and a Python dict in text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fastnnunet/storage/element.h"

namespace fastnnunet::storage {

// Magic, version and the longer form of the length.
inline constexpr std::size_t kNpyPreamble = 12;
// NumPy itself refuses to evaluate headers longer than 10,000 characters.
inline constexpr std::size_t kNpyLongestHeader = 65536;

struct NpyHeader {
  Element element = Element::float32;
  bool fortran_order = false;
  std::vector<std::int64_t> axes;
};

// From the first kNpyPreamble bytes (or what there is of them): where the text begins and where it ends, which is where
// the voxels begin. Throws StorageError.
struct NpyText {
  std::size_t begin = 0;
  std::size_t end = 0;
};
NpyText npy_text(const std::string& file, const std::byte* bytes, std::size_t count);

// Throws StorageError.
NpyHeader parse_npy_header(const std::string& file, std::string_view text);

}  // namespace fastnnunet::storage
