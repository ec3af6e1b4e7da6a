// Counts what all threads ask of operator new while it is there. Sanitizers bring allocators of their own,
// and MSVC has no aligned one to put in their place.
#pragma once

#include <cstdint>

namespace fastnnunet::testing {

class CountedAllocations {
 public:
  static bool possible();
  CountedAllocations();
  ~CountedAllocations();
  std::uint64_t count() const;
  std::uint64_t bytes() const;
};

}  // namespace fastnnunet::testing
