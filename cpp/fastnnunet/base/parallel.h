// One loop on several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace fastnnunet::base {

// body(begin, end) for one range of a loop.
using RangeBody = std::function<void(std::int64_t, std::int64_t)>;

// Calls body(begin, end) for ranges that together are [0, count), on up to `threads` threads, the caller's being one of
// them, and no more than there are cores. One thread gets one range, more threads some ranges each. Which ranges there
// are depends on `threads`, so what is computed for an index must not depend on its range. The first exception ends the
// loop and is thrown here. Throws InvalidArgument where `threads` is below 1. Where the system has no more threads for
// the process, those that it has do the work.
//
//   parallel_for(threads, planes, [&](std::int64_t begin, std::int64_t end) {
//     std::vector<float> scratch(size);
//     for (std::int64_t plane = begin; plane < end; ++plane) fill(out + plane * size, scratch);
//   });
void parallel_for(int threads, std::int64_t count, const RangeBody& body);

// Threads of which some may have nothing to do, to be asked by one of them.
class Crew {
 public:
  virtual ~Crew() = default;
  virtual int idle() const = 0;  // how many, as far as one can tell
  // The same loop on the calling thread and on those that have nothing to do. While the caller waits for them it takes
  // up nothing else, so what it holds is not met by another task of its own thread.
  virtual void share(std::int64_t count, const RangeBody& body) const = 0;
};

}  // namespace fastnnunet::base
