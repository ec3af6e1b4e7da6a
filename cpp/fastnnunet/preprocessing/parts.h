// Many intensities in several arrays, which are read as if they were one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace fastnnunet::preprocessing {

// An array of float32, or of int16, which whole numbers take half of. One of the pointers is null.
struct Part {
  const float* values = nullptr;
  const std::int16_t* whole = nullptr;
  std::int64_t count = 0;
};

class Parts {
 public:
  explicit Parts(std::vector<Part> parts) : parts_(std::move(parts)) {
    for (const Part& part : parts_) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + part.count);
  }

  std::int64_t size() const { return ends_.empty() ? 0 : ends_.back(); }

  // Calls use(value) for the values from `begin` to `end`, in order.
  template <typename Use>
  void each(std::int64_t begin, std::int64_t end, Use use) const {
    auto at = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
    for (; begin < end; ++at) {
      const Part& part = parts_[at];
      const std::int64_t first = begin - (ends_[at] - part.count),
                         last = std::min(end, ends_[at]) - ends_[at] + part.count;
      if (part.whole == nullptr)
        for (std::int64_t i = first; i < last; ++i) use(part.values[i]);
      else
        for (std::int64_t i = first; i < last; ++i) use(static_cast<float>(part.whole[i]));
      begin = std::min(end, ends_[at]);
    }
  }

 private:
  std::vector<Part> parts_;
  std::vector<std::int64_t> ends_;
};

}  // namespace fastnnunet::preprocessing
