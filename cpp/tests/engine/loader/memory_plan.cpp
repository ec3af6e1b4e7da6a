#include "fastnnunet/engine/loader/memory_plan.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engine/cases.h"
#include "fastnnunet/engine/loader/loader.h"
#include "fastnnunet/storage/cache/open_volumes.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

TEST_CASE("memory plan: all of the budget is given out, and what is needed comes first", "[engine]") {
  LoaderOptions options;
  for (const int threads : {1, 3, 16})
    for (const int batch_size : {1, 2, 9})
      for (const std::size_t batch : {1'000u, 70'000u})
        for (const std::size_t spare : {0u, 1u, 999u, 50'000u, 12'345'678u}) {
          CAPTURE(threads, batch_size, batch, spare);
          const std::size_t workspaces = static_cast<std::size_t>(threads) * 5'000;
          options.threads = threads;
          options.sampling.batch_size = batch_size;
          options.memory_budget = workspaces + 2 * batch + spare;
          const MemoryPlan plan = plan_memory(options, workspaces, batch);
          CHECK(plan.budget == options.memory_budget);
          CHECK(workspaces + plan.batches + plan.blocks + plan.locations == plan.budget);
          CHECK(static_cast<std::size_t>(plan.prefetch + 1) * batch <= plan.batches);
          CHECK(plan.prefetch >= 1);
          CHECK(plan.prefetch <= options.prefetch);
          CHECK(plan.ahead >= 1);
          CHECK(plan.ahead <= plan.prefetch);
          options.memory_budget = workspaces + 2 * batch - 1;
          CHECK_THROWS_AS(plan_memory(options, workspaces, batch), BudgetError);
          options.budget_binds = false;
          CHECK(plan_memory(options, workspaces, batch).budget == workspaces + 2 * batch);
          options.budget_binds = true;
        }
}

TEST_CASE("memory plan: threads that may be added have a quarter of what is spare", "[engine]") {
  LoaderOptions options;
  options.threads = 2;
  options.sampling.batch_size = 2;
  constexpr std::size_t kOfOne = 5'000, kWorkspaces = 2 * kOfOne, kBatch = 1'000;
  for (const std::size_t spare : {0u, 19'999u, 20'000u, 59'999u, 12'345'678u})
    for (const int most : {0, 2, 3, 30}) {
      CAPTURE(spare, most);
      options.memory_budget = kWorkspaces + 2 * kBatch + spare;
      options.most_threads = most;
      const MemoryPlan plan = plan_memory(options, kWorkspaces, kBatch);
      const int affordable = static_cast<int>(spare / 4 / kOfOne);
      CHECK(plan.most_threads == 2 + std::clamp(most - 2, 0, affordable));
      const std::size_t added = static_cast<std::size_t>(plan.most_threads - 2) * kOfOne;
      CHECK(kWorkspaces + added + plan.batches + plan.blocks + plan.locations == plan.budget);
    }
}

TEST_CASE("memory plan: batches ahead leave a quarter of what is spare, for blocks and class locations", "[engine]") {
  LoaderOptions options;
  options.threads = 2;
  options.sampling.batch_size = 2;
  constexpr std::size_t kWorkspaces = 10'000, kBatch = 1'000;
  for (const std::size_t spare : {0u, 999u, 1'333u, 1'334u, 50'000u, 12'345'678u})
    for (const int prefetch : {1, 3, 40})
      for (const bool keep_blocks : {false, true}) {
        CAPTURE(spare, prefetch, keep_blocks);
        options.memory_budget = kWorkspaces + 2 * kBatch + spare;
        options.prefetch = prefetch;
        options.keep_blocks = keep_blocks;
        const MemoryPlan plan = plan_memory(options, kWorkspaces, kBatch);
        const std::size_t ahead = static_cast<std::size_t>(plan.prefetch - 1) * kBatch;
        CHECK(4 * ahead <= 3 * spare + 3);
        if (plan.prefetch < prefetch) CHECK(4 * (ahead + kBatch) > 3 * spare);
        CHECK(plan.blocks == (keep_blocks ? (spare - ahead) / 2 : 0));
        CHECK(plan.locations == (spare - ahead) / 4);
      }
}

TEST_CASE("loader: a budget that is too small says what it is too small for", "[engine]") {
  const Cases cases(2);
  LoaderOptions options = options_for(cases, 4);
  options.sampling.batch_size = 64;
  options.memory_budget = 2 << 20;
  const std::string message = message_of([&] { loader_of(options); });
  CHECK(has(message, "memory budget of 2 MiB"));
  CHECK(has(message, "4 threads"));
  CHECK(has(message, "2 batches of"));
  CHECK_THROWS_AS(loader_of(options), BudgetError);

  options.budget_binds = false;
  const auto loader = loader_of(options);
  const std::size_t taken = loader->statistics().memory_budget;
  CHECK(taken > (std::size_t{2} << 20));
  loader->next({});
  loader->next({});
  CHECK(loader->statistics().memory_budget == taken);
  options.budget_binds = true;
  options.memory_budget = taken - 1;
  CHECK_THROWS_AS(loader_of(options), BudgetError);
  options.memory_budget = taken;
  CHECK_NOTHROW(loader_of(options));
}

TEST_CASE("loader: the budget is kept", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 20);
  // A thread works with some 60 kilobytes here, a batch takes 85.
  options.memory_budget = 700000 + 2 * storage::OpenVolumes::kMemory;
  const auto memory = std::make_shared<CountedMemory>(true);
  const auto loader = loader_of(options, TreeKind::full_3d, some_locations, memory);
  const LoaderStatistics before = loader->statistics();
  CHECK(before.prefetch >= 1);
  CHECK(before.prefetch_limit < 20);
  std::vector<Batch> kept;
  for (int i = 0; i < 3; ++i) kept.push_back(loader->next({}));
  take(*loader, 1);
  const LoaderStatistics after = loader->statistics();
  CHECK(after.open_file_bytes > 0);
  CHECK(memory->most_bytes() + after.workspace_bytes + after.location_bytes + after.open_file_bytes <=
        options.memory_budget);
}

TEST_CASE("loader: a consumer that keeps batches does not get the memory of class locations", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 2);
  options.sampling.oversample_foreground = 1.0;
  options.keep_blocks = false;
  options.memory_budget = 4000000 + 2 * storage::OpenVolumes::kMemory;
  // Of four cases, which together take more than their share of what is left.
  const auto many = [](std::size_t number, const Index3& shape) {
    ClassLocations locations(shape);
    std::vector<std::int64_t> voxels;
    for (std::int64_t i = 0; i < 100000; ++i)
      for (const std::int64_t size : shape) voxels.push_back((i + static_cast<std::int64_t>(number)) % size);
    locations.add({1}, false, false, voxels, 3);
    return locations;
  };
  const auto memory = std::make_shared<CountedMemory>(true);
  const auto loader = loader_of(options, TreeKind::full_3d, many, memory);
  take(*loader, 10);
  std::vector<Batch> kept;
  CHECK_THROWS_AS(
      [&] {
        for (;;) kept.push_back(loader->next({}));
      }(),
      BudgetError);
  const LoaderStatistics after = loader->statistics();
  CHECK(after.location_bytes > 2 * after.batch_bytes);
  // Files may yet take all of their share.
  CHECK(memory->most_bytes() + after.workspace_bytes + after.location_bytes + 2 * storage::OpenVolumes::kMemory <=
        options.memory_budget);
}

TEST_CASE("memory plan: sizes are told in whole MiB, rounded up", "[engine]") {
  CHECK(megabytes(0) == "0 MiB");
  CHECK(megabytes(1) == "1 MiB");
  CHECK(megabytes(1 << 20) == "1 MiB");
  CHECK(megabytes((1 << 20) + 1) == "2 MiB");
}

TEST_CASE("loader: each thread's memory and open files count", "[engine]") {
  const Cases cases(2);
  const auto least = [&](int threads) {
    LoaderOptions options = options_for(cases, threads);
    options.memory_budget = 0;
    options.budget_binds = false;
    return loader_of(options)->statistics().memory_budget;
  };
  const std::size_t one = least(1), two = least(2), four = least(4);
  CHECK(two - one > storage::OpenVolumes::kMemory);
  CHECK(four - two == 2 * (two - one));
}

}  // namespace
}  // namespace fastnnunet::engine
