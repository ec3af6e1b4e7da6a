// Batches without end, made ahead of their consumer. Every batch is a function of (seed, rank, role, step): threads,
// prefetch and load change when it is made, never what is in it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "fastnnunet/base/api.h"
#include "fastnnunet/engine/batch.h"
#include "fastnnunet/engine/loader/options.h"
#include "fastnnunet/engine/loader/reports.h"
#include "fastnnunet/engine/sample_error.h"
#include "fastnnunet/pipeline/layout.h"
#include "fastnnunet/sampling/class_locations.h"

namespace fastnnunet {

namespace pipeline {
class Pipeline;  // see pipeline/transform_tree.h
}
namespace sample {
class Sample;
}

class FASTNNUNET_API Loader {
 public:
  // Opens the first cases to learn what channels most have, and makes a sample where transforms in Python have to tell
  // the shapes; `poll` is called now and then while that goes on, and what it throws ends it. `reader` is asked for the
  // class locations of cases whose patch must show foreground. Without a provider, batches are in ordinary memory.
  // Throws StorageError, InvalidArgument or BudgetError.
  Loader(LoaderOptions options, std::shared_ptr<pipeline::Pipeline> pipeline, LocationReader reader,
         std::shared_ptr<MemoryProvider> provider = nullptr, const std::function<void()>& poll = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Waits for the next batch; `poll` is called now and then while waiting, and what it throws ends the wait.
  // Throws SampleError for a sample that failed, BudgetError where the caller holds all that the budget allows,
  // ClosedError.
  Batch next(const std::function<void()>& poll = {});

  // The step that next() gives next. Setting it drops what was made ahead; cases are skipped as `excluded` says.
  std::uint64_t step() const;
  void set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll = {});

  const Layout& layout() const;
  const LoaderOptions& options() const;
  std::vector<BadCase> bad_cases() const;
  LoaderStatistics statistics() const;
  // Which case and which window a sample takes, without making it: nnU-Net's decisions, for tests and pictures.
  SampleChoice sampled(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt = 0) const;

  // The cases of a step's samples, in the order of their slots, if none of them is bad. No file is opened.
  std::vector<std::size_t> cases_of(std::uint64_t step) const;

  // Makes one sample, whatever the batches: the same that stands in the batch of `step`, where `attempt` is 0 but for
  // samples that bad cases were skipped for. `take` is called in a thread of the arena, with the finished sample and
  // its case; only code inside of the core can look into it. Throws SampleError. Bad cases count as good.
  void make(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt,
            const std::function<void(sample::Sample&, std::size_t)>& take, const std::function<void()>& poll = {});

  // At any time, from any thread.
  LoaderActivity activity() const;

  // Ends all work. False where a task did not end in time; its memory is then left alone. Idempotent, and may be asked
  // again.
  bool close(std::chrono::milliseconds patience = std::chrono::seconds(10));

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fastnnunet
