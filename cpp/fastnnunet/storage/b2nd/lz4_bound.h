// What LZ4 cannot compress, told without compressing it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnnunet::storage {

// Whether blocks of `block` bytes, compressed by LZ4 or LZ4HC each by itself, surely take more than `limit` bytes
// together. false: they may take less. This takes a tenth of the time of LZ4HC.
bool lz4_surely_takes_more(const std::byte* bytes, std::int64_t size, std::int64_t block, std::int64_t limit);

}  // namespace fastnnunet::storage
