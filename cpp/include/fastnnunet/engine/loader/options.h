// What a loader is asked for.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "fastnnunet/engine/loader/case_files.h"
#include "fastnnunet/platform/file_place.h"
#include "fastnnunet/random/sample_id.h"
#include "fastnnunet/sampling/options.h"

namespace fastnnunet {

// Where a file of a case is read from, in place of the path that the case has; `which` is as in CaseFiles. It is called
// by the thread that is about to open the file, by several threads at once, and may take long. Its StorageErrors are
// those of the file. It is called again if what it named was removed meanwhile.
using FilePlaces = std::function<FilePlace(std::size_t case_number, int which)>;

struct LoaderOptions {
  std::vector<CaseFiles> cases;
  FilePlaces places;  // empty: files are where the cases say
  SamplingOptions sampling;
  int dims = 3;
  std::uint64_t seed = 0;
  // Each rank has random numbers of its own; ranks that share batches all have 0 here, and a `first_slot` each.
  std::uint32_t rank = 0;
  std::uint32_t role = 0;
  int threads = 1;
  // As many as there may be while the consumer waits for batches and every thread is busy, as far as the memory budget
  // has room for them; not more than `threads`: their number stays.
  int most_threads = 0;
  int prefetch = 4;               // batches made ahead, at the most; fewer as long as the consumer need not wait
  std::size_t memory_budget = 0;  // bytes of everything that the loader holds
  bool budget_binds = true;       // a budget that is too small is an error; else the least that is needed is taken
  bool skip_bad_cases = false;
  double max_skipped = 0.05;  // share of the cases that may be skipped; one always may
  // How long what may pass is tried again: a disk or a file server that does not answer, a file that is gone.
  std::chrono::duration<double> patience = std::chrono::minutes(5);
  bool check_finite = false;  // NaN and infinite voxels make a case bad
  bool keep_blocks = true;    // decompressed ones, as far as the budget has room

  // Of the sample at `position` in this loader's batch.
  SampleId sample_id(std::uint64_t step, std::uint32_t position, std::uint32_t attempt = 0) const {
    return {seed, rank, role, step, static_cast<std::uint32_t>(sampling.first_slot) + position, attempt};
  }
};

}  // namespace fastnnunet
