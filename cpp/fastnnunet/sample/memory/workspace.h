// What one thread works with: its memory, and the threads that may help it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fastnnunet/base/parallel.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/sample/activity.h"

namespace fastnnunet::sample {

// Memory of one thread, reused for every sample, and the threads that may help this one.
class Workspace {
 public:
  explicit Workspace(const base::Crew* crew = nullptr) : crew_(crew) {}

  static constexpr int kScratch = 6;
  static constexpr std::size_t kBlock = 4096;  // values that stay in the first-level cache between two loops
  using ScratchSizes = std::array<std::size_t, kScratch>;  // bytes

  // `number` keeps several live at once; a transform's scratch ends with the transform.
  template <typename T>
  T* scratch(int number, std::int64_t count) {
    return scratch_[number].reserve<T>(static_cast<std::size_t>(count));
  }
  std::size_t bytes() const;
  ScratchSizes scratch_bytes() const;

  // How many other threads have no sample to make, as far as one can tell.
  int idle() const { return crew_ != nullptr ? crew_->idle() : 0; }

  // body(begin, end) for ranges that together are [0, count): on this thread, and on those that have no sample to make.
  // What is computed for an index must not depend on its range.
  template <typename Body>
  void share(std::int64_t count, const Body& body) const {
    if (idle() > 0)
      crew_->share(count, std::cref(body));
    else if (count > 0)
      body(std::int64_t{0}, count);
  }

  // The same for a channel's values: body(part, number of its first value), in parts of whole blocks.
  template <typename Body>
  void share_values(std::span<float> values, const Body& body) const {
    const std::size_t blocks = (values.size() + kBlock - 1) / kBlock;
    share(static_cast<std::int64_t>(blocks), [&](std::int64_t begin, std::int64_t end) {
      const std::size_t first = static_cast<std::size_t>(begin) * kBlock;
      const std::size_t last = std::min(static_cast<std::size_t>(end) * kBlock, values.size());
      body(values.subspan(first, last - first), first);
    });
  }

  Activity& activity() { return activity_; }
  const Activity& activity() const { return activity_; }

 private:
  friend class Sample;
  const base::Crew* crew_;
  Activity activity_;
  platform::Buffer scratch_[kScratch];
  platform::Buffer image_[2];
  platform::Buffer segmentation_[2];
  platform::Buffer regions_[2];
  std::vector<platform::Buffer> targets_;
};

}  // namespace fastnnunet::sample
