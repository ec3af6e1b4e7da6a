// Voxels in memory, all channels of one image or segmentation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fastnnunet/base/box.h"

namespace fastnnunet::sample {

// (C, X, Y, Z), C-contiguous. Memory belongs to somebody else.
template <typename T>
struct Array {
  T* data = nullptr;
  std::int64_t channels = 0;
  Index3 shape{};

  std::int64_t channel_size() const { return voxels(shape); }
  std::int64_t size() const { return channels * channel_size(); }
  T* channel(std::int64_t number) const { return data + number * channel_size(); }
  std::span<T> channel_span(std::int64_t number) const {
    return {channel(number), static_cast<std::size_t>(channel_size())};
  }
};

}  // namespace fastnnunet::sample
