// What LZ4 cannot compress, told without compressing it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnnunet::storage {

// A number of bytes below which LZ4 or LZ4HC cannot compress blocks of `block` bytes, each by itself; 0 where that
// would not be much. This takes a tenth of the time of LZ4HC.
std::int64_t least_lz4_bytes(const std::byte* bytes, std::int64_t size, std::int64_t block);

}  // namespace fastnnunet::storage
