// Ranks that make each batch together.
#include <cstring>
#include <vector>

#include "engine/cases.h"
#include "fastnnunet/engine/loader/loader.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

LoaderOptions of_rank(LoaderOptions options, std::int64_t rank, std::int64_t ranks) {
  options.sampling.global_batch_size = options.sampling.batch_size;
  options.sampling.batch_size /= ranks;
  options.sampling.first_slot = rank * options.sampling.batch_size;
  options.threads = 1 + static_cast<int>(rank);
  options.prefetch = 1 + static_cast<int>(ranks);
  return options;
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

TEST_CASE("loader: ranks that share batches make the slots of one", "[engine]") {
  Cases cases(5);
  cases.truncate(2);
  LoaderOptions whole = options_for(cases, 2, 2);
  whole.sampling.batch_size = 6;
  whole.skip_bad_cases = true;
  const auto expected = take(*loader_of(whole), 4);
  for (const std::int64_t ranks : {1, 2, 3, 6}) {
    CAPTURE(ranks);
    std::vector<Content> together(4);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const auto loader = loader_of(of_rank(whole, rank, ranks));
      const auto made = take(*loader, 4);
      for (std::size_t step = 0; step < 4; ++step) {
        Content& all = together[step];
        all.step = made[step].step;
        append(all.cases, made[step].cases);
        append(all.image, made[step].image);
        all.targets.resize(made[step].targets.size());
        for (std::size_t i = 0; i < all.targets.size(); ++i) append(all.targets[i], made[step].targets[i]);
      }
      for (const BadCase& bad : loader->bad_cases()) {
        CHECK(bad.slot >= rank * 6 / ranks);
        CHECK(bad.slot < (rank + 1) * 6 / ranks);
      }
    }
    CHECK(together == expected);
  }
}

TEST_CASE("loader: a sample of a rank is asked for by its position in the rank's batch", "[engine]") {
  const Cases cases(5);
  LoaderOptions whole = options_for(cases);
  whole.sampling.batch_size = 4;
  const auto one = loader_of(whole), second = loader_of(of_rank(whole, 1, 2));
  for (std::uint32_t position = 0; position < 2; ++position) {
    const SampleChoice ours = second->sampled(3, position), theirs = one->sampled(3, position + 2);
    CHECK(ours.case_number == theirs.case_number);
    CHECK(ours.force_foreground == theirs.force_foreground);
    CHECK(ours.window == theirs.window);
  }
}

}  // namespace
}  // namespace fastnnunet::engine
