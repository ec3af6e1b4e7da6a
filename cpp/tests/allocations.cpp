#include "allocations.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "sanitized.h"

#if !defined(FASTNNUNET_SANITIZED) && !defined(_WIN32)
#define FASTNNUNET_COUNTS
#endif

namespace fastnnunet::testing {
namespace {

std::atomic<bool> counting{false};
std::atomic<std::uint64_t> allocations{0}, allocated{0};
thread_local int until_failure = -1;
thread_local bool has_failed = false;

[[maybe_unused]] void note(std::size_t bytes) {
  if (until_failure >= 0 && until_failure-- == 0) {
    has_failed = true;
    throw std::bad_alloc();
  }
  if (!counting.load(std::memory_order_relaxed)) return;
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace

CountedAllocations::CountedAllocations() {
  allocations = allocated = 0;
  counting = true;
}

CountedAllocations::~CountedAllocations() { counting = false; }

std::uint64_t CountedAllocations::count() const { return allocations; }
std::uint64_t CountedAllocations::bytes() const { return allocated; }

FailingAllocation::FailingAllocation(int after) {
  until_failure = after;
  has_failed = false;
}

FailingAllocation::~FailingAllocation() { until_failure = -1; }

bool FailingAllocation::failed() const { return has_failed; }

#if !defined(FASTNNUNET_COUNTS)
bool CountedAllocations::possible() { return false; }
#else
bool CountedAllocations::possible() { return true; }
#endif

}  // namespace fastnnunet::testing

#if defined(FASTNNUNET_COUNTS)

void* operator new(std::size_t bytes) {
  fastnnunet::testing::note(bytes);
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

void* operator new(std::size_t bytes, std::align_val_t alignment) {
  fastnnunet::testing::note(bytes);
  const auto multiple = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(multiple, (bytes + multiple - 1) / multiple * multiple)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

#endif
