// The way of one sample: case, patch and parameters first, then voxels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "fastnnunet/base/durations.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/engine/arena.h"
#include "fastnnunet/engine/loader/bad_cases.h"
#include "fastnnunet/engine/loader/lock.h"
#include "fastnnunet/engine/loader/options.h"
#include "fastnnunet/engine/loader/reports.h"
#include "fastnnunet/engine/loader/task_files.h"
#include "fastnnunet/engine/location_cache.h"
#include "fastnnunet/engine/window_source.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/sampling/patch_sampler.h"
#include "fastnnunet/storage/cache/volume_cache.h"

namespace fastnnunet::engine {

// What a task needs beside the thread's memory; kept from sample to sample.
struct SampleScratch {
  TaskFiles files;
  pipeline::Plan plan;
  WindowSource<float> image{"reading the image"};
  WindowSource<std::int16_t> segmentation{"reading labels"};
  WindowSource<float> regression{"reading the target"};
  sample::Destination destination;
  // Of the regression target, and its memory where no batch has some.
  sample::Destination moved;
  std::vector<float> moved_values;
  // Of a target that goes along with its image.
  std::optional<sample::Workspace> beside;
};

// Used by all threads of a loader at once.
class SampleMaker {
 public:
  // These must outlive it.
  SampleMaker(const LoaderOptions& options, pipeline::Pipeline& pipeline, BadCases& bad, LoaderLock& lock);

  // Opens the first cases to learn what channels most have; `poll` is called now and then while files are waited for.
  // Throws SampleError. Comes before any sample.
  void learn_geometry(const std::function<void()>& poll);
  const Geometry& geometry() const { return geometry_.sample; }
  // Of the regression target, whose channels are an image's; without channels there is none.
  Geometry regression_geometry() const;

  // What samples take class locations and decompressed blocks from; no sample is being made.
  void set_caches(std::unique_ptr<LocationCache> locations, std::unique_ptr<storage::VolumeCache> volumes);
  const LocationCache& locations() const { return *locations_; }
  const storage::VolumeCache& volumes() const { return *volumes_; }

  // nnU-Net's decisions, without making the sample.
  SampleChoice choose(const SampleId& id) const;

  // Makes the sample, with another case where one is bad and may be skipped. Returns the case. `destination` may be
  // null. Throws SampleError, or ClosedError where the sample is not wanted any more.
  std::size_t make(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample, SampleId id,
                   const sample::Destination* destination, const Wanted& wanted);
  // The same for one attempt: a bad case is an error.
  std::size_t make_attempt(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample,
                           const SampleId& id, const Wanted& wanted);

  std::unique_ptr<SampleScratch> take_scratch();
  void give_scratch(std::unique_ptr<SampleScratch> scratch);

  // Thread time of each sample.
  Durations::Summary sampling_times() const { return sampling_times_.summary(); }
  Durations::Summary reading_times() const { return reading_times_.summary(); }

 private:
  struct CaseGeometry {
    Geometry sample;
    std::int64_t regression_channels = 0;
    bool operator==(const CaseGeometry&) const = default;
  };
  CaseGeometry geometry_of(const CaseFiles& at, storage::OpenVolumes& files, Attempts& attempts,
                           const std::function<void()>& poll) const;
  void fill(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample, const SampleId& id,
            random::Stream& stream, bool force_foreground, std::size_t number, const sample::Destination* destination,
            const Wanted& wanted);
  // What is known of a case's image, its segmentation, the previous stage's and its regression target (else null).
  // Throws StorageError where they do not fit together, or not to the other cases.
  struct Facts {
    const VolumeFacts* image;
    const VolumeFacts* segmentation;
    const VolumeFacts* previous;
    const VolumeFacts* regression;
  };
  // Runs the plan for a sample with its regression target beside it. Returns the time spent on reading the target.
  std::chrono::nanoseconds run_with_target(SampleScratch& scratch, sample::Sample& sample,
                                           const sample::Destination* destination);
  // Moves the regression target as the finished sample was moved. Returns the time spent on reading.
  std::chrono::nanoseconds move_target(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample,
                                       const sample::Destination* destination);
  Facts checked_facts(TaskFiles& files, const CaseFiles& at) const;
  std::shared_ptr<const ClassLocations> read_locations(std::size_t number, const Index3& shape);

  const LoaderOptions& options_;
  pipeline::Pipeline& pipeline_;
  sampling::PatchSampler sampler_;
  LoaderLock& lock_;
  BadCases& bad_ FASTNNUNET_GUARDED_BY(lock_.mutex);
  LoaderFiles files_;
  CaseGeometry geometry_;
  std::unique_ptr<LocationCache> locations_;
  std::unique_ptr<storage::VolumeCache> volumes_;
  Durations sampling_times_;
  Durations reading_times_;

  base::Mutex scratch_mutex_;
  std::vector<std::unique_ptr<SampleScratch>> scratch_ FASTNNUNET_GUARDED_BY(scratch_mutex_);
};

}  // namespace fastnnunet::engine
