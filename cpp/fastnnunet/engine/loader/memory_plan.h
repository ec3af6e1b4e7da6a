// How a loader divides its memory budget.
#pragma once

#include <cstddef>

#include "fastnnunet/engine/loader/options.h"

namespace fastnnunet::engine {

// "12 MiB", rounded up.
std::string megabytes(std::size_t bytes);

struct MemoryPlan {
  std::size_t budget = 0;     // bytes in all
  std::size_t batches = 0;    // bytes
  std::size_t blocks = 0;     // bytes of decompressed ones that are kept
  std::size_t locations = 0;  // bytes of class locations that are kept
  int most_threads = 1;       // whose working memory there is room for
  int prefetch = 1;           // batches made ahead, at the most
  int ahead = 1;              // and at first
};

// Workspaces, open files and two batches are needed, class locations, more batches and more threads are welcome.
// `workspaces`: bytes of all threads together, their open files included. `batch`: bytes of one. Throws BudgetError
// where a budget that binds has no room for what is needed.
MemoryPlan plan_memory(const LoaderOptions& options, std::size_t workspaces, std::size_t batch);

}  // namespace fastnnunet::engine
