// Regression targets: what moves as the image does, and is left alone otherwise.
#include <algorithm>
#include <vector>

#include "engine/cases.h"
#include "fastnnunet/engine/loader/loader.h"
#include "fastnnunet/sample/sample.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

// The images themselves as targets.
LoaderOptions with_targets(const Cases& cases, TreeKind kind, int threads = 2, int prefetch = 3) {
  LoaderOptions options = options_for(cases, threads, prefetch, kind);
  if (kind == TreeKind::plane_2d) options.dims = 2;
  for (CaseFiles& files : options.cases) {
    files.regression = files.image;
    files.regression_member = files.image_member;
    if (kind == TreeKind::cascade) files.previous = files.segmentation;
  }
  return options;
}

TEST_CASE("loader: a target is moved as the image, which is the same with it and without", "[engine]") {
  const Cases cases(4);
  for (const TreeKind kind : kTreeKinds) {
    CAPTURE(name_of(kind));
    LoaderOptions plain = with_targets(cases, kind);
    for (CaseFiles& files : plain.cases) files.regression.clear();
    const auto without = take(*loader_of(plain, kind), 4);
    const auto loader = loader_of(with_targets(cases, kind), kind);
    CHECK(loader->layout().regression_channels == 2);
    CHECK(loader->layout().regression_shape == loader->layout().image_shape);
    const auto made = take(*loader, 4);
    for (std::size_t step = 0; step < 4; ++step) {
      Content content = made[step];
      CHECK(content.regression.size() == 3u * 2u * static_cast<std::size_t>(voxels(loader->layout().image_shape)));
      // No transform of this tree changes intensities.
      if (kind == TreeKind::validation) CHECK(content.regression == content.image);
      content.regression.clear();
      CHECK(content == without[step]);
    }
    for (const int threads : {1, 5})
      CHECK(take(*loader_of(with_targets(cases, kind, threads, threads), kind), 4) == made);
    // Alone, a sample has its target, too.
    loader->make(1, 2, 0, [&](sample::Sample& sample, std::size_t) {
      const sample::Array<float>& moved = sample.regression();
      REQUIRE(moved.size() * 3 == static_cast<std::int64_t>(made[1].regression.size()));
      CHECK(std::equal(moved.data, moved.data + moved.size(), made[1].regression.begin() + 2 * moved.size()));
    });
  }
}

TEST_CASE("loader: the memory of targets is counted in the budget, and given back", "[engine]") {
  const Cases cases(3);
  const auto memory = std::make_shared<CountedMemory>(true);
  LoaderOptions options = with_targets(cases, TreeKind::full_3d);
  LoaderStatistics with;
  {
    const auto loader = loader_of(options, TreeKind::full_3d, some_locations, memory);
    take(*loader, 5);
    with = loader->statistics();
    CHECK(memory->most_bytes() <= with.memory_budget);
  }
  CHECK(memory->living() == 0);
  CHECK(memory->errors() == 0);
  for (CaseFiles& files : options.cases) files.regression.clear();
  const auto plain = loader_of(options);
  CHECK(with.batch_bytes == plain->statistics().batch_bytes + std::size_t{3 * 2 * 12 * 14 * 16} * sizeof(float));
}

}  // namespace
}  // namespace fastnnunet::engine
