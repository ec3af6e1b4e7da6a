#include "fastnnunet/engine/loader/memory_plan.h"

#include <algorithm>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::engine {

std::string megabytes(std::size_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

MemoryPlan plan_memory(const LoaderOptions& options, std::size_t workspaces, std::size_t batch) {
  MemoryPlan plan;
  // One batch in the consumer's hands and one being made.
  const std::size_t least = workspaces + 2 * batch;
  plan.budget = options.budget_binds ? options.memory_budget : std::max(options.memory_budget, least);
  if (plan.budget < least)
    throw BudgetError("memory budget of " + megabytes(plan.budget),
                      "at least " + megabytes(least) + " (" + std::to_string(options.threads) +
                          " threads: " + megabytes(workspaces) +
                          " of working memory and open files, and 2 batches of " + megabytes(batch) + ")",
                      "less; give more memory or fewer threads");
  std::size_t spare = plan.budget - least;
  // More threads may have a quarter of what is spare.
  const std::size_t of_one = std::max<std::size_t>(workspaces / static_cast<std::size_t>(options.threads), 1);
  const auto more = static_cast<int>(std::min<std::size_t>(
      spare / 4 / of_one, static_cast<std::size_t>(std::max(options.most_threads - options.threads, 0))));
  plan.most_threads = options.threads + more;
  const std::size_t reserved = static_cast<std::size_t>(more) * of_one;
  spare -= reserved;
  const auto affordable = static_cast<int>(std::min<std::size_t>((spare - spare / 4) / batch + 1, 1000));
  plan.prefetch = std::clamp(options.prefetch, 1, affordable);
  // Work for every thread while the next batch waits for its consumer.
  const auto samples = static_cast<int>(options.sampling.batch_size);
  plan.ahead = std::min(plan.prefetch, (options.threads + samples - 1) / samples + 1);
  const std::size_t planned = static_cast<std::size_t>(plan.prefetch + 1) * batch;
  // Of what is left, half is for decompressed blocks, a quarter for class locations, and a quarter for a consumer that
  // keeps batches.
  const std::size_t rest = spare - (planned - 2 * batch);
  plan.blocks = options.keep_blocks ? rest / 2 : 0;
  plan.locations = rest / 4;
  plan.batches = plan.budget - workspaces - reserved - plan.blocks - plan.locations;
  return plan;
}

}  // namespace fastnnunet::engine
