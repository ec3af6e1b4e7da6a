// What a loader tells of itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/base/durations.h"

namespace fastnnunet {

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

// A case that cannot be read, and is skipped.
struct BadCase {
  std::string name;
  std::string file;
  std::string reason;
  std::uint64_t step;      // the first that noticed; later ones go on without the case
  std::uint32_t slot = 0;  // of the sample's address
  std::uint32_t attempt = 0;
  // Of all files of the case when it was found bad, see stamp_of_case; empty where that could not be told.
  std::string stamp = {};
};

// Which case and which window a sample takes.
struct SampleChoice {
  std::size_t case_number;
  bool force_foreground;
  Box window;
};

}  // namespace fastnnunet
