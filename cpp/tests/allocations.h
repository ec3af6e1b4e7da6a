// Operator new, watched and made to fail. Sanitizers bring allocators of their own, and MSVC has no aligned one to put
// in their place.
#pragma once

#include <cstdint>

namespace fastnnunet::testing {

// Counts what all threads ask of operator new while it is there.
class CountedAllocations {
 public:
  static bool possible();
  CountedAllocations();
  ~CountedAllocations();
  std::uint64_t count() const;
  std::uint64_t bytes() const;
};

// While it is there, the request of this thread that `after` others of its come before throws std::bad_alloc.
class FailingAllocation {
 public:
  explicit FailingAllocation(int after);
  ~FailingAllocation();
  bool failed() const;
};

}  // namespace fastnnunet::testing
