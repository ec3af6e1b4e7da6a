// What the loader asks of the system's allocator while batches flow.
#include "allocations.h"

#include <new>

#include "catch.h"
#include "engine/cases.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

TEST_CASE("loader: nothing is allocated once all that batches need has been needed", "[engine]") {
  if (!CountedAllocations::possible()) return;
  {
    const CountedAllocations counted;
    ::operator delete(::operator new(1));
    REQUIRE(counted.count() == 1);
  }
  const Cases cases(4);
  for (const TreeKind kind : kTreeKinds) {
    if (kind == TreeKind::cascade) continue;  // these cases have no previous stage
    CAPTURE(name_of(kind));
    // One thread and one batch ahead: of several, one may be used for the first time at any time.
    LoaderOptions options = options_for(cases, 1, 1, kind);
    options.dims = tree_of(kind).geometry.dims;
    const auto loader = loader_of(options, kind);
    for (int i = 0; i < 600; ++i) loader->next({});
    constexpr int kBatches = 200;
    const CountedAllocations counted;
    const std::uint64_t pages = platform::page_requests();
    for (int i = 0; i < kBatches; ++i) loader->next({});
    CHECK(platform::page_requests() == pages);
    // A list may still have to grow for more than it ever held, a longer kernel for one.
    CHECK(counted.count() <= 3);
  }
}

}  // namespace
}  // namespace fastnnunet::engine
