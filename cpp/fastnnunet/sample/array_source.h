// An array in memory as the source of a sample.
#pragma once

#include <algorithm>

#include "fastnnunet/sample/array.h"
#include "fastnnunet/sample/source.h"

namespace fastnnunet::sample {

template <typename T>
class ArraySource final : public Source<T> {
 public:
  // (C, X, Y, Z), C-contiguous; it must outlive the source.
  explicit ArraySource(const Array<const T>& array) : array_(array) {}

  std::int64_t channels() const override { return array_.channels; }
  const Index3& shape() const override { return array_.shape; }

  void read(std::int64_t channel, const Box& box, T* out) override {
    const Index3 size = box.shape();
    const T* from = array_.channel(channel);
    for (std::int64_t x = box.lower[0]; x < box.upper[0]; ++x)
      for (std::int64_t y = box.lower[1]; y < box.upper[1]; ++y) {
        const T* row = from + (x * array_.shape[1] + y) * array_.shape[2] + box.lower[2];
        out = std::copy(row, row + size[2], out);
      }
  }

  SourceView<T> view(std::int64_t channel, const Box& box) override {
    const std::int64_t plane = array_.shape[1] * array_.shape[2], row = array_.shape[2];
    return {array_.channel(channel) + box.lower[0] * plane + box.lower[1] * row + box.lower[2], box, plane, row};
  }

 private:
  Array<const T> array_;
};

}  // namespace fastnnunet::sample
