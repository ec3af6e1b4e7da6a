#include "fastnnunet/engine/loader/loader.h"

#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/engine/loader/bad_cases.h"
#include "fastnnunet/engine/loader/batch_queue.h"
#include "fastnnunet/engine/loader/lock.h"
#include "fastnnunet/engine/loader/memory_plan.h"
#include "fastnnunet/engine/loader/sample_maker.h"
#include "fastnnunet/engine/location_cache.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/storage/cache/volume_cache.h"

namespace fastnnunet {

class Loader::Impl {
 public:
  Impl(LoaderOptions options, std::shared_ptr<pipeline::Pipeline> pipeline, LocationReader reader,
       std::shared_ptr<MemoryProvider> provider, const std::function<void()>& poll)
      : options_(std::move(options)),
        pipeline_(std::move(pipeline)),
        bad_(options_),
        maker_(options_, *pipeline_, bad_, lock_),
        queue_(options_, maker_, bad_, lock_) {
    maker_.learn_geometry(poll);
    const auto known = pipeline_->layout(maker_.geometry(), has_labels());
    Layout layout = known ? *known : probe(reader, poll);
    open(std::move(layout), std::move(reader), std::move(provider));
  }

  engine::BatchQueue& queue() { return queue_; }
  const LoaderOptions& options() const { return options_; }

  SampleChoice sampled(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt) const {
    queue_.require_own_process();
    return maker_.choose(options_.sample_id(step, slot, attempt));
  }

  void make(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt,
            const std::function<void(sample::Sample&, std::size_t)>& take, const std::function<void()>& poll) {
    queue_.run_in_a_thread(poll, [&](engine::Arena::ThreadState& thread, const engine::Wanted& wanted) {
      engine::SampleScratch scratch;
      sample::Sample sample(thread.workspace);
      queue_.begin_sample(thread, step, slot);
      const SampleId id = options_.sample_id(step, slot, attempt);
      take(sample, maker_.make_attempt(thread, scratch, sample, id, wanted));
    });
  }

  LoaderStatistics statistics() const {
    queue_.require_own_process();
    LoaderStatistics s;
    queue_.report(s);
    s.stages.push_back({"sampling", true, maker_.sampling_times()});
    s.stages.push_back({"reading", true, maker_.reading_times()});
    for (std::size_t leaf = 0; leaf < pipeline_->leaves(); ++leaf) {
      const transforms::Transform& transform = pipeline_->leaf(leaf);
      const bool native = transform.traits().native && !pipeline_->stood_in(leaf);
      s.stages.push_back({std::string(transform.name()), native, pipeline_->statistics(leaf)});
    }
    s.stages.push_back({"writing", true, pipeline_->write_statistics()});
    s.cache_bytes = maker_.volumes().memory();
    s.cache_hits = maker_.volumes().hits();
    s.cache_misses = maker_.volumes().misses();
    s.location_bytes = maker_.locations().memory();
    s.location_reads = maker_.locations().reads();
    return s;
  }

 private:
  bool has_labels() const { return maker_.geometry().segmentation_channels > 0; }

  // Makes one sample where only running the transforms tells what comes out of them.
  Layout probe(const LocationReader& reader, const std::function<void()>& poll) {
    maker_.set_caches(std::make_unique<engine::LocationCache>(reader, std::size_t{0}),
                      std::make_unique<storage::VolumeCache>(0));
    Layout layout;
    queue_.run_in_a_thread(poll, [&](engine::Arena::ThreadState& thread, const engine::Wanted& wanted) {
      engine::SampleScratch scratch;
      sample::Sample sample(thread.workspace);
      queue_.begin_sample(thread, 0, 0);
      const SampleId id = options_.sample_id(0, 0);
      const std::size_t number = maker_.make(thread, scratch, sample, id, nullptr, wanted);
      layout = pipeline::Pipeline::layout_of(sample, sample.image());
      layout.regression_channels = sample.regression().channels;
      layout.regression_shape = sample.regression().shape;
      if (layout.targets.empty() && has_labels())
        throw SampleError({id, options_.cases[number].name, "",
                           sample.companion() != nullptr ? sample.companion()->labels_from() : "",
                           "expected a segmentation after all transforms, got none", false},
                          nullptr);
    });
    return layout;
  }

  void open(Layout layout, LocationReader reader, std::shared_ptr<MemoryProvider> provider) {
    std::size_t for_target = 0;
    if (const Geometry target = maker_.regression_geometry(); target.image_channels > 0) {
      const Geometry moved = pipeline_->after_moves(target);
      if (layout.regression_channels == 0) {  // else a sample was made to know it
        layout.regression_channels = moved.image_channels;
        layout.regression_shape = moved.shape;
      }
      for_target = pipeline_->workspace_bytes_of_moves(
          target, Layout{layout.regression_channels, layout.regression_shape, moved.dims, {}});
    }
    const std::int64_t samples = options_.sampling.batch_size;
    const std::size_t batch = engine::BatchRing::make(layout, samples, 0, provider)->batch_bytes();
    const std::size_t workspaces =
        static_cast<std::size_t>(options_.threads) *
        (pipeline_->workspace_bytes(maker_.geometry(), layout) + for_target + storage::OpenVolumes::kMemory);
    const engine::MemoryPlan plan = engine::plan_memory(options_, workspaces, batch);
    options_.memory_budget = plan.budget;
    options_.prefetch = plan.prefetch;
    maker_.set_caches(std::make_unique<engine::LocationCache>(std::move(reader), plan.locations),
                      std::make_unique<storage::VolumeCache>(plan.blocks));
    auto ring = engine::BatchRing::make(layout, samples, plan.batches, std::move(provider));
    queue_.open(std::move(layout), std::move(ring), plan);
  }

  LoaderOptions options_;
  std::shared_ptr<pipeline::Pipeline> pipeline_;
  engine::LoaderLock lock_;
  engine::BadCases bad_;
  engine::SampleMaker maker_;
  engine::BatchQueue queue_;
};

Loader::Loader(LoaderOptions options, std::shared_ptr<pipeline::Pipeline> pipeline, LocationReader reader,
               std::shared_ptr<MemoryProvider> provider, const std::function<void()>& poll)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(pipeline), std::move(reader),
                                   provider != nullptr ? std::move(provider) : std::make_shared<OrdinaryMemory>(),
                                   poll)) {}

Loader::~Loader() {
  // Tasks that do not end, and threads that a fork left behind, still refer to the memory.
  if (close(impl_->queue().patience())) return;
  (void)impl_.release();
}

Batch Loader::next(const std::function<void()>& poll) { return impl_->queue().next(poll); }
std::uint64_t Loader::step() const { return impl_->queue().step(); }
void Loader::set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll) {
  impl_->queue().set_step(step, excluded, poll);
}
const Layout& Loader::layout() const { return impl_->queue().layout(); }
const LoaderOptions& Loader::options() const { return impl_->options(); }
std::vector<BadCase> Loader::bad_cases() const { return impl_->queue().bad_cases(); }
LoaderStatistics Loader::statistics() const { return impl_->statistics(); }
SampleChoice Loader::sampled(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt) const {
  return impl_->sampled(step, slot, attempt);
}
void Loader::make(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt,
                  const std::function<void(sample::Sample&, std::size_t)>& take, const std::function<void()>& poll) {
  impl_->make(step, slot, attempt, take, poll);
}
LoaderActivity Loader::activity() const { return impl_->queue().activity(); }
bool Loader::close(std::chrono::milliseconds patience) { return impl_->queue().close(patience); }

}  // namespace fastnnunet
