// Batches without end, made ahead of their consumer. Every batch is a function of (seed, rank, role, step): threads,
// prefetch and load change when it is made, never what is in it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastnnunet/base/durations.h"
#include "fastnnunet/engine/batch_ring.h"
#include "fastnnunet/engine/location_cache.h"
#include "fastnnunet/engine/sample_error.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/sampling/patch_sampler.h"

namespace fastnnunet {

struct CaseFiles {
  std::string name;
  std::filesystem::path image;
  std::filesystem::path segmentation;
  std::filesystem::path previous;  // of the previous stage; empty outside of a cascade
  // Arrays inside .npz files.
  std::string image_member = "data";
  std::string segmentation_member = "seg";
  std::string previous_member = "seg";
  std::filesystem::path properties = {};  // what class locations come from; for errors
};

struct LoaderOptions {
  std::vector<CaseFiles> cases;
  SamplingOptions sampling;
  int dims = 3;
  std::uint64_t seed = 0;
  std::uint32_t rank = 0;
  std::uint32_t role = 0;
  int threads = 1;
  int prefetch = 4;               // batches made ahead, at the most; fewer as long as the consumer need not wait
  std::size_t memory_budget = 0;  // bytes of everything that the loader holds
  bool budget_binds = true;       // a budget that is too small is an error; else the least that is needed is taken
  bool skip_bad_cases = false;
  double max_skipped = 0.05;  // share of the cases that may be skipped; one always may
  // How long what may pass is tried again: a disk or a file server that does not answer, a file that is gone.
  std::chrono::duration<double> patience = std::chrono::minutes(5);
  bool check_finite = false;  // NaN and infinite voxels make a case bad
  bool keep_blocks = true;    // decompressed ones, as far as the budget has room
};

struct Batch {
  std::shared_ptr<BatchMemory> memory;
  std::uint64_t step = 0;
  const std::vector<std::size_t>& cases() const { return memory->cases; }  // one for each sample
};

struct BadCase {
  std::string name;
  std::string file;
  std::string reason;
  std::uint64_t step;  // the first that noticed; later ones go on without the case
  std::uint32_t slot = 0;
  std::uint32_t attempt = 0;
  // Of all files of the case when it was found bad, see stamp_of_case; empty where that could not be told.
  std::string stamp = {};
};

// A text that is the same as long as no file of the case has another content, or is there where it was not. Empty where
// a file cannot be examined now, as on a disk that fails.
std::string stamp_of_case(const CaseFiles& files);

// A part of the way of a sample, over all samples: its thread time.
struct StageStatistics {
  std::string name;
  bool native = true;
  Durations::Summary time;
};

struct LoaderStatistics {
  std::uint64_t batches = 0;       // handed out
  std::uint64_t samples = 0;       // made, those ahead of the consumer included
  double waited_seconds = 0;       // by the consumer
  double first_batch_seconds = 0;  // from the first request to the first batch
  double running_seconds = 0;      // since the first request
  Durations::Summary wait;         // of the consumer, for each batch
  Durations::Summary sample;       // thread time of each sample
  // "sampling": choosing, opening files, class locations, drawing parameters; "reading": boxes of voxels out of files;
  // every transform under its name; "writing": what is not yet where the batch wants it.
  std::vector<StageStatistics> stages;
  std::uint64_t bytes_read = 0;
  std::size_t cache_bytes = 0;  // decompressed blocks
  std::uint64_t cache_hits = 0;
  std::uint64_t cache_misses = 0;
  std::size_t ready_batches = 0;
  std::size_t batch_bytes = 0;
  std::size_t batches_in_use = 0;  // being made, ready, or in tensors
  std::size_t workspace_bytes = 0;
  std::size_t location_bytes = 0;
  std::uint64_t location_reads = 0;
  std::size_t open_files = 0;
  std::size_t open_file_bytes = 0;
  std::size_t memory_budget = 0;
  int threads = 0;
  int prefetch = 0;        // batches that are made ahead now
  int prefetch_limit = 0;  // and at the most
};

// What a thread is doing for a loader.
struct ThreadActivity {
  std::uint64_t thread = 0;  // the system's number of it
  std::uint64_t step = 0;
  std::uint32_t slot = 0;
  std::string case_name;  // empty until it is chosen
  std::string stage;      // a transform's name where it is one; with what is waited for, if anything
  double stage_seconds = 0;
  double sample_seconds = 0;
};

// What a loader is doing: for reports.
struct LoaderActivity {
  std::uint64_t step = 0;  // that is handed out next
  std::vector<ThreadActivity> threads;
  int tasks = 0;               // samples that are being made, or wait for a thread
  std::size_t ready = 0;       // batches
  std::size_t being_made = 0;  // batches
  std::size_t in_use = 0;      // batches in memory: being made, ready, or in tensors
};

class Loader {
 public:
  // Opens the first cases to learn what channels most have, and makes a sample where transforms in Python have to tell
  // the shapes; `poll` is called now and then while that goes on, and what it throws ends it. Throws StorageError,
  // InvalidArgument or BudgetError.
  Loader(LoaderOptions options, std::shared_ptr<Pipeline> pipeline, LocationCache::Reader reader,
         std::shared_ptr<MemoryProvider> provider, const std::function<void()>& poll = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Waits for the next batch; `poll` is called now and then while waiting, and what it throws ends the wait.
  // Throws SampleError for a sample that failed, BudgetError where the caller holds all that the budget allows,
  // ClosedError.
  Batch next(const std::function<void()>& poll);

  // The step that next() gives next. Setting it drops what was made ahead; cases are skipped as `excluded` says.
  std::uint64_t step() const;
  void set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll = {});

  const Layout& layout() const;
  const LoaderOptions& options() const;
  std::vector<BadCase> bad_cases() const;
  LoaderStatistics statistics() const;
  // Which case and which window a sample takes, without making it: nnU-Net's decisions, for tests and pictures.
  struct Sampled {
    std::size_t case_number;
    bool force_foreground;
    Box window;
  };
  Sampled sampled(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt = 0) const;

  // Makes one sample, whatever the batches: the same that stands in the batch of `step`, where `attempt` is 0 but for
  // samples that bad cases were skipped for. `take` is called in a thread of the arena, with the finished sample and
  // its case. Throws SampleError. Bad cases count as good.
  void make(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt,
            const std::function<void(Sample&, std::size_t)>& take, const std::function<void()>& poll = {});

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
