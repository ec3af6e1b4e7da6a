// What the loader asks of the system's allocator while batches flow.
#include "allocations.h"

#include "catch.h"
#include "engine/cases.h"

namespace fastnnunet {
namespace {

using namespace testing;

TEST_CASE("loader: no memory for voxels is allocated once all of it has been needed", "[engine]") {
  if (!CountedAllocations::possible()) return;
  const Cases cases(4);
  for (const TreeKind kind : kTreeKinds) {
    if (kind == TreeKind::cascade) continue;  // these cases have no previous stage
    CAPTURE(name_of(kind));
    LoaderOptions options = options_for(cases, 2, 4, kind);
    options.dims = tree_of(kind).geometry.dims;
    const auto loader = loader_of(options, kind);
    for (int i = 0; i < 300; ++i) loader->next({});
    constexpr int kBatches = 200;
    const CountedAllocations counted;
    const std::uint64_t pages = page_requests();
    for (int i = 0; i < kBatches; ++i) loader->next({});
    CHECK(page_requests() == pages);
    // Names of files, lists of targets, the queue of tasks. A sample's image alone takes 21 KiB.
    const double bytes_per_sample = static_cast<double>(counted.bytes()) / (kBatches * 3);
    CHECK(bytes_per_sample > 0);
    CHECK(bytes_per_sample < 2048);
  }
}

}  // namespace
}  // namespace fastnnunet
