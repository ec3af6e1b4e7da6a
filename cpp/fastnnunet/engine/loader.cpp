#include "fastnnunet/engine/loader.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <thread>
#include <tuple>

#include "fastnnunet/engine/arena.h"
#include "fastnnunet/engine/patience.h"
#include "fastnnunet/engine/window_source.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/platform/machine.h"
#include "fastnnunet/platform/process.h"
#include "fastnnunet/storage/known_files.h"
#include "fastnnunet/storage/volume_cache.h"

namespace fastnnunet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kSamplingPurpose = 0;
constexpr std::chrono::milliseconds kPollInterval{50};
constexpr std::uint32_t kMostAttempts = 4000;
static_assert(kMostAttempts <= Stream::kMostAttempts);

constexpr const char* kNoMemory = "expected memory of the system, got none: the process is at its limit";

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string megabytes(std::size_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

std::string text(const Index3& shape) {
  return "(" + std::to_string(shape[0]) + ", " + std::to_string(shape[1]) + ", " + std::to_string(shape[2]) + ")";
}

// Threads share the files that the process may open, and leave most of them to others.
std::size_t files_per_thread(int threads) {
  const std::uint64_t share = open_file_limit() / 4 / static_cast<std::uint64_t>(std::max(threads, 1));
  return std::clamp<std::size_t>(share, 3, 64);
}

// A case's files in the order of their numbers: image, segmentation, previous stage's, properties.
constexpr std::uint32_t kFilesOfCase = 4;
constexpr std::uint32_t kProperties = 3;

std::string tried_for(std::chrono::duration<double> patience) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", patience.count());
  return std::string(" (tried again for ") + text + " s)";
}

}  // namespace

std::string stamp_of_case(const CaseFiles& files) {
  std::string stamp;
  for (const std::filesystem::path* path : {&files.image, &files.segmentation, &files.previous, &files.properties}) {
    if (path->empty()) continue;
    std::string one = "none";
    try {
      const InputFile file(*path, FileAccess::copied);
      char text[48];
      std::snprintf(text, sizeof(text), "%llx:%016llx", static_cast<unsigned long long>(file.size()),
                    static_cast<unsigned long long>(file.content()));
      one = text;
    } catch (const StorageError& error) {
      if (error.passing() != Passing::if_it_was_there) return {};
    }
    stamp += (stamp.empty() ? "" : " ") + one;
  }
  return stamp;
}

class Loader::Impl {
 public:
  Impl(LoaderOptions options, std::shared_ptr<Pipeline> pipeline, LocationCache::Reader reader,
       std::shared_ptr<MemoryProvider> provider, const std::function<void()>& poll)
      : options_(std::move(options)),
        pipeline_(std::move(pipeline)),
        sampler_(options_.sampling, std::ssize(options_.cases)),
        process_(process_id()),
        arena_(Arena::shared(options_.threads, files_per_thread(options_.threads))) {
    geometry_ = common_geometry(poll);
    const auto known = pipeline_->layout(geometry_, true);
    layout_ = known ? *known : probe(reader, poll);
    plan_memory(std::move(reader), std::move(provider));
  }

  Batch next(const std::function<void()>& poll) {
    require_open();
    const auto begin = Clock::now();
    std::unique_lock lock(mutex_);
    if (!first_request_) first_request_ = begin;
    bool had_to_wait = false;
    for (;;) {
      if (closed_) throw ClosedError("loader", "an open loader", "one that was closed");
      const std::exception_ptr missing = schedule(lock);
      if (closed_) continue;  // meanwhile
      Job* const found = ready_job(step_);
      if (found != nullptr && !redo_excluded(*found)) {
        Batch batch{std::move(found->memory), found->step};
        std::exception_ptr error = std::exchange(found->error, nullptr);
        if (std::exception_ptr many = too_many_skipped(found->step)) error = std::move(many);
        found->state = Job::State::unused;
        ++step_;
        // For the first one everybody waits, and as long as no thread was idle more batches ahead would not have
        // helped.
        if (had_to_wait && idled_ && batches_ > 0) {
          ahead_ = std::min(ahead_ + 1, options_.prefetch);
          idled_ = false;
        }
        // Before the consumer leaves, so that its place is filled while it computes. What is missing for that is no
        // reason to keep this batch, or its error, from it: the next call tries again.
        schedule(lock);
        const auto waited = Clock::now() - begin;
        waited_ += waited;
        waits_.add(waited);
        if (error) std::rethrow_exception(error);
        if (batches_++ == 0) first_batch_ = Clock::now() - *first_request_;
        return batch;
      }
      if (count(Job::State::being_made) + count(Job::State::ready) == 0 && !acquiring_) {
        if (missing) std::rethrow_exception(missing);
        throw BudgetError("memory budget of " + megabytes(options_.memory_budget),
                          "room for one more batch of " + megabytes(ring_->batch_bytes()),
                          std::to_string(ring_->in_use()) + " batches that are still referred to by tensors");
      }
      had_to_wait = true;
      changed_.wait_for(lock, kPollInterval);
      if (poll) {
        lock.unlock();
        poll();
        lock.lock();
      }
    }
  }

  std::uint64_t step() const {
    require_open();
    const std::lock_guard lock(mutex_);
    return step_;
  }

  void set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll) {
    require_open();
    // Made before anything changes, for want of memory leaves the loader where it is.
    std::map<std::size_t, std::uint64_t> numbers;
    std::map<std::size_t, BadCase> bad;
    for (const BadCase& one : excluded) {
      const auto at = std::find_if(options_.cases.begin(), options_.cases.end(),
                                   [&](const CaseFiles& c) { return c.name == one.name; });
      if (at == options_.cases.end()) continue;
      const auto number = static_cast<std::size_t>(at - options_.cases.begin());
      numbers[number] = one.step;
      bad[number] = one;
    }
    std::unique_lock lock(mutex_);
    if (closed_) throw ClosedError("loader", "an open loader", "one that was closed");
    ++generation_;
    // Where poll() has enough of waiting, what was made ahead is dropped all the same, and the loader goes on where it
    // was.
    for (Job& job : jobs_)
      if (job.state == Job::State::ready) job.drop();
    submitted_ = step_;
    changed_.notify_all();  // wake threads that wait for files
    while (!changed_.wait_for(lock, kPollInterval, [&] { return running_ == 0; })) {
      if (!poll) continue;
      lock.unlock();
      poll();
      lock.lock();
    }
    drop_jobs();
    step_ = submitted_ = step;
    idled_ = false;
    excluded_.swap(numbers);
    bad_.swap(bad);
  }

  bool close(std::chrono::milliseconds patience) {
    if (process_id() != process_) return false;  // after a fork there is nothing to wait for
    std::unique_lock lock(mutex_);
    closed_ = true;
    ++generation_;
    changed_.notify_all();
    const bool ended = changed_.wait_for(lock, patience, [&] { return running_ == 0; });
    overdue_ = !ended;
    if (!ended) return false;
    drop_jobs();
    if (ring_) ring_->close();
    const std::shared_ptr<Arena> arena = std::move(arena_);
    lock.unlock();  // the last loader's arena ends its threads here
    return true;
  }

  // How long a destructor should still wait.
  std::chrono::milliseconds patience() const {
    if (process_id() != process_) return std::chrono::milliseconds(0);
    const std::lock_guard lock(mutex_);
    return overdue_ ? std::chrono::seconds(1) : std::chrono::seconds(10);
  }

  const Layout& layout() const { return layout_; }
  const LoaderOptions& options() const { return options_; }

  std::vector<BadCase> bad_cases() const {
    require_open();
    const std::lock_guard lock(mutex_);
    std::vector<BadCase> list;
    for (const auto& [number, bad] : bad_) list.push_back(bad);
    return list;
  }

  LoaderStatistics statistics() const {
    require_open();
    LoaderStatistics s;
    const std::lock_guard lock(mutex_);
    s.batches = batches_;
    s.samples = samples_;
    s.waited_seconds = seconds(waited_);
    s.first_batch_seconds = seconds(first_batch_);
    if (first_request_) s.running_seconds = seconds(Clock::now() - *first_request_);
    s.wait = waits_.summary();
    s.sample = sample_times_.summary();
    s.stages.push_back({"sampling", true, sampling_times_.summary()});
    s.stages.push_back({"reading", true, reading_times_.summary()});
    for (std::size_t leaf = 0; leaf < pipeline_->leaves(); ++leaf) {
      const Transform& transform = pipeline_->leaf(leaf);
      const bool native = transform.native() && !pipeline_->stood_in(leaf);
      s.stages.push_back({std::string(transform.name()), native, pipeline_->statistics(leaf)});
    }
    s.stages.push_back({"writing", true, pipeline_->write_statistics()});
    s.bytes_read = bytes_read_;
    s.cache_bytes = volumes_->memory();
    s.cache_hits = volumes_->hits();
    s.cache_misses = volumes_->misses();
    s.ready_batches = count(Job::State::ready);
    s.batch_bytes = ring_->batch_bytes();
    s.batches_in_use = ring_->in_use();
    s.location_bytes = locations_->memory();
    s.location_reads = locations_->reads();
    if (arena_) {
      s.workspace_bytes = arena_->workspace_bytes();
      s.open_files = arena_->open_files();
      s.open_file_bytes = arena_->open_file_bytes();
    }
    s.memory_budget = options_.memory_budget;
    s.threads = options_.threads;
    s.prefetch = ahead_;
    s.prefetch_limit = options_.prefetch;
    return s;
  }

  Sampled sampled(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt) {
    require_open();
    OpenVolumes files(OpenVolumes::kOfOneSample);
    SampleId id = sample_id(step, slot);
    id.attempt = attempt;
    Stream stream(id, kSamplingPurpose);
    const auto choice = sampler_.choose_case(stream, slot);
    const auto number = static_cast<std::size_t>(choice.case_number);
    const Index3 shape = files.get(options_.cases[number].image, options_.cases[number].image_member).shape();
    std::shared_ptr<const ClassLocations> locations;
    if (sampler_.needs_locations(choice.force_foreground)) locations = locations_->get(number, shape);
    return {number, choice.force_foreground, sampler_.place(stream, shape, choice.force_foreground, locations.get())};
  }

  void make(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt,
            const std::function<void(Sample&, std::size_t)>& take, const std::function<void()>& poll) {
    require_open();
    in_a_thread(poll, [&](Arena::ThreadState& thread, const Wanted& wanted) {
      Scratch scratch;
      Sample sample(thread.workspace);
      thread.workspace.activity().begin(this, step, slot);
      SampleId id = sample_id(step, slot);
      id.attempt = attempt;
      Stream stream(id, kSamplingPurpose);
      const auto choice = sampler_.choose_case(stream, slot);
      const auto number = static_cast<std::size_t>(choice.case_number);
      fill(thread, scratch, sample, id, stream, choice.force_foreground, number, nullptr, wanted);
      take(sample, number);
    });
  }

  LoaderActivity activity() const {
    LoaderActivity found;
    if (process_id() != process_) return found;
    const auto now = Activity::Clock::now();
    const std::lock_guard lock(mutex_);
    found.step = step_;
    found.tasks = running_;
    found.ready = count(Job::State::ready);
    found.being_made = count(Job::State::being_made);
    if (ring_) found.in_use = ring_->in_use();
    if (!arena_) return found;
    arena_->look([&](const Activity::Now& thread) {
      if (thread.owner != this) return;
      const bool chosen = thread.case_number < options_.cases.size();
      std::string stage(thread.stage);
      if (!thread.detail.empty()) stage.append(": ").append(thread.detail);
      found.threads.push_back({thread.thread, thread.step, thread.slot,
                               chosen ? options_.cases[thread.case_number].name : std::string(), std::move(stage),
                               seconds(now - thread.stage_since), seconds(now - thread.sample_since)});
    });
    return found;
  }

 private:
  // Whether what a task makes is still wanted: a sample of a batch until the loader is closed or set to another step,
  // another one until its caller has enough of waiting. The lock is held by those who look.
  struct Wanted {
    std::uint64_t generation = 0;
    const bool* stopped = nullptr;
  };

  // The files of a task's sample.
  class TaskFiles final : public SampleFiles {
   public:
    void begin(Impl& impl, Arena::ThreadState& thread, std::size_t number, const Wanted& wanted) {
      impl_ = &impl;
      thread_ = &thread;
      number_ = number;
      wanted_ = wanted;
      opened_ = {};
      gave_up_ = false;
    }
    Volume& volume(int which) override {
      Volume*& opened = opened_[static_cast<std::size_t>(which)];
      if (opened == nullptr) opened = &impl_->open_volume_of(*thread_, number_, which);
      return *opened;
    }
    std::string name(int which) const override { return utf8(*impl_->path_of(number_, which).first); }
    bool wait(const StorageError& error, Attempts& attempts) override {
      const auto pause = attempts.pause_after(error, impl_->patience_for_files());
      gave_up_ = !pause && error.passing() == Passing::yes && impl_->patience_for_files().count() > 0;
      if (pause) impl_->wait_for_file(thread_->workspace.activity(), error, *pause, wanted_);
      return pause.has_value();
    }
    // What is known of a file, which is opened for that the first time.
    const VolumeFacts& facts(int which) {
      const VolumeFacts* known = impl_->known_.find(file_number(number_, which));
      if (known == nullptr) {
        patiently([&] { volume(which); });
        known = impl_->known_.find(file_number(number_, which));
      }
      return *known;
    }
    // Whether the last error came after all patience.
    bool gave_up() const { return gave_up_; }

   private:
    Impl* impl_ = nullptr;
    Arena::ThreadState* thread_ = nullptr;
    std::size_t number_ = 0;
    Wanted wanted_;
    std::array<Volume*, kProperties> opened_{};
    bool gave_up_ = false;
  };

  // What a task needs beside the thread's memory; kept from sample to sample.
  struct Scratch {
    TaskFiles files;
    Plan plan;
    WindowSource<float> image;
    WindowSource<std::int16_t> segmentation;
    Destination destination;
  };

  struct Job;
  // One sample of a batch.
  struct SlotTask final : Arena::Task {
    SlotTask(Impl& of, Job& its_job, std::uint32_t number) : impl(of), job(its_job), slot(number) {}
    void run(Arena::ThreadState& thread) noexcept override { impl.work(thread, job, slot); }
    Impl& impl;
    Job& job;
    std::uint32_t slot;
  };

  // One batch on its way. Slots are filled by tasks; whoever fills the last one makes it ready. Used again and again.
  struct Job {
    enum class State : std::uint8_t { unused, being_made, ready };

    Job(Impl& impl, std::int64_t batch_size) {
      for (std::int64_t slot = 0; slot < batch_size; ++slot)
        tasks.emplace_back(impl, *this, static_cast<std::uint32_t>(slot));
    }
    void drop() {
      memory.reset();
      error = nullptr;
      state = State::unused;
    }

    State state = State::unused;
    std::uint64_t step = 0;
    std::uint64_t generation = 0;
    std::shared_ptr<BatchMemory> memory;
    int remaining = 0;
    std::exception_ptr error;  // of the lowest slot that failed
    std::int64_t error_slot = -1;
    std::deque<SlotTask> tasks;  // one for each slot
  };

  SampleId sample_id(std::uint64_t step, std::uint32_t slot) const {
    return {options_.seed, options_.rank, options_.role, step, slot, 0};
  }

  void require_open() const {
    if (process_id() != process_)
      throw ClosedError("loader", "the process that made it",
                        "another one: threads do not survive a fork; make the loader after it");
  }

  Attempts::Clock::duration patience_for_files() const {
    // Capped so that it fits the clock's ticks.
    return std::chrono::duration_cast<Attempts::Clock::duration>(
        std::min(options_.patience, std::chrono::duration<double>(3e9)));
  }

  static std::uint32_t file_number(std::size_t case_number, std::uint32_t which) {
    return kFilesOfCase * static_cast<std::uint32_t>(case_number) + which;
  }
  static std::uint32_t file_number(std::size_t case_number, int which) {
    return file_number(case_number, static_cast<std::uint32_t>(which));
  }

  std::pair<const std::filesystem::path*, const std::string*> path_of(std::size_t number, int which) const {
    const CaseFiles& files = options_.cases[number];
    switch (which) {
      case 0:
        return {&files.image, &files.image_member};
      case 1:
        return {&files.segmentation, &files.segmentation_member};
      default:
        return {&files.previous, &files.previous_member};
    }
  }

  // The thread's handle of a file, with the content that all threads know. Reads do not check it again in this sample.
  Volume& open_volume_of(Arena::ThreadState& thread, std::size_t number, int which) {
    const auto [path, member] = path_of(number, which);
    const std::uint32_t file = file_number(number, which);
    const auto close = [&, path = path, member = member] {
      // A case whose previous stage is its own segmentation has one handle for both, and it may be in use.
      for (int other = 0; other < 3; ++other)
        if (const auto [its, its_member] = path_of(number, other);
            other != which && *its == *path && *its_member == *member)
          return;
      thread.files.close(*path, *member);
    };
    // Another loader of this thread may have opened the file before it was replaced.
    if (known_.find(file) == nullptr) close();
    for (bool first = true;; first = false) {
      try {
        Volume& volume = thread.files.get(*path, *member);
        volume.check_once();
        known_.admit(file, volume);
        return volume;
      } catch (const StorageError& error) {
        // Another handle may have the right content.
        if (error.passing() != Passing::no) close();
        if (first && error.passing() == Passing::if_it_changes) continue;
        if (!known_.was_there(file) || dynamic_cast<const ResourceError*>(&error) != nullptr) throw;
        if (error.passing() == Passing::if_it_was_there) throw StorageError(error.file(), error.reason(), Passing::yes);
        // It was good: what is wrong with it now may be that it is not all there yet.
        if (error.passing() == Passing::no) throw StorageError(error.file(), error.reason(), Passing::if_it_changes);
        throw;
      }
    }
  }

  void wait_for_file(Activity& activity, const StorageError& error, Attempts::Clock::duration pause,
                     const Wanted& wanted) {
    const std::string_view before = activity.enter("waiting for the file server", error.file() + ": " + error.reason());
    std::unique_lock lock(mutex_);
    const auto unwanted = [&] {
      return closed_ || (wanted.stopped != nullptr ? *wanted.stopped : wanted.generation != generation_);
    };
    const bool stop = changed_.wait_for(lock, pause, unwanted);
    lock.unlock();
    activity.enter(before);
    if (stop)
      throw ClosedError("loader", "a loader that stays open while " + error.file() + " is waited for",
                        "one that was closed or set to another step");
  }

  // Channels and window of any sample: those that most of the first cases have, the earlier ones where as many have
  // others.
  Geometry common_geometry(const std::function<void()>& poll) {
    constexpr std::size_t kAsked = 7;
    std::exception_ptr first_error;
    std::vector<std::pair<Geometry, int>> found;
    OpenVolumes files(OpenVolumes::kOfOneSample);
    std::size_t asked = 0;
    Attempts attempts;  // of all cases together: a server that is away is not waited for again with each of them
    for (std::size_t number = 0; number < options_.cases.size() && asked < kAsked; ++number) {
      const CaseFiles& at = options_.cases[number];
      try {
        const Geometry geometry = geometry_of(at, files, attempts, poll);
        for (int which = 0; which < 3; ++which) known_.saw(file_number(number, which));
        ++asked;
        const auto same = std::find_if(found.begin(), found.end(), [&](const auto& other) {
          return other.first.image_channels == geometry.image_channels &&
                 other.first.segmentation_channels == geometry.segmentation_channels;
        });
        if (same == found.end())
          found.emplace_back(geometry, 1);
        else
          ++same->second;
      } catch (const ResourceError& error) {
        throw SampleError({sample_id(0, 0), at.name, error.file(), "", error.reason(), false},
                          std::current_exception());
      } catch (const StorageError& error) {
        if (!first_error)
          first_error = std::make_exception_ptr(SampleError(
              {sample_id(0, 0), at.name, error.file(), "", error.reason(), true}, std::current_exception()));
        if (!options_.skip_bad_cases) break;
      }
    }
    if (found.empty()) std::rethrow_exception(first_error);
    return std::max_element(found.begin(), found.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }

  // Of one case's samples, with the patience for files that the loader has. No thread is at work yet.
  Geometry geometry_of(const CaseFiles& at, OpenVolumes& files, Attempts& attempts,
                       const std::function<void()>& poll) const {
    for (;;) {
      try {
        Geometry geometry;
        geometry.shape = sampler_.options().patch_size;
        geometry.dims = options_.dims;
        geometry.image_channels = files.get(at.image, at.image_member).channels();
        geometry.segmentation_channels = files.get(at.segmentation, at.segmentation_member).channels();
        if (!at.previous.empty())
          geometry.segmentation_channels += files.get(at.previous, at.previous_member).channels();
        return geometry;
      } catch (const StorageError& error) {
        const auto pause = attempts.pause_after(error, patience_for_files());
        if (!pause) throw;
        const auto until = Clock::now() + *pause;
        while (Clock::now() < until) {
          if (poll) poll();
          std::this_thread::sleep_for(std::min<Clock::duration>(kPollInterval, until - Clock::now()));
        }
      }
    }
  }

  // Makes one sample where only running the transforms tells what comes out of them.
  Layout probe(const LocationCache::Reader& reader, const std::function<void()>& poll) {
    locations_ = std::make_unique<LocationCache>(reader, std::size_t{0});
    volumes_ = std::make_unique<VolumeCache>(0);
    Layout layout;
    in_a_thread(poll, [&](Arena::ThreadState& thread, const Wanted& wanted) {
      Scratch scratch;
      Sample sample(thread.workspace);
      thread.workspace.activity().begin(this, 0, 0);
      const std::size_t number = make_sample(thread, scratch, sample, 0, 0, nullptr, wanted);
      layout = Pipeline::layout_of(sample, sample.image());
      if (layout.targets.empty())
        throw SampleError({sample_id(0, 0), options_.cases[number].name, "",
                           sample.companion() != nullptr ? sample.companion()->labels_from() : "",
                           "expected a segmentation after all transforms, got none", false},
                          nullptr);
    });
    return layout;
  }

  // `work` on one of the threads, and back when it is done. What it throws is thrown here.
  void in_a_thread(const std::function<void()>& poll,
                   const std::function<void(Arena::ThreadState&, const Wanted&)>& work) {
    struct OneTask final : Arena::Task {
      OneTask(Impl& of, const std::function<void(Arena::ThreadState&, const Wanted&)>& what) : impl(of), body(what) {}
      void run(Arena::ThreadState& thread) noexcept override {
        try {
          body(thread, {0, &stopped});
        } catch (...) {
          error = std::current_exception();
        }
        thread.workspace.activity().end();
        const std::lock_guard inner(impl.mutex_);
        --impl.running_;
        done = true;
        impl.changed_.notify_all();
      }
      Impl& impl;
      const std::function<void(Arena::ThreadState&, const Wanted&)>& body;
      std::exception_ptr error;
      bool done = false;
      bool stopped = false;  // the caller has enough of waiting
    };
    OneTask task(*this, work);
    std::unique_lock lock(mutex_);
    if (closed_) throw ClosedError("loader", "an open loader", "one that was closed");
    ++running_;
    arena_->enqueue(task);
    // The task works on the caller's memory, so this waits for its end even where poll() has enough of it.
    std::exception_ptr stopped;
    while (!changed_.wait_for(lock, kPollInterval, [&] { return task.done; })) {
      if (!poll || stopped) continue;
      lock.unlock();
      try {
        poll();
      } catch (...) {
        stopped = std::current_exception();
      }
      lock.lock();
      if (stopped) {
        task.stopped = true;
        changed_.notify_all();
      }
    }
    if (stopped) std::rethrow_exception(stopped);
    if (task.error) std::rethrow_exception(task.error);
  }

  // Divides the budget: workspaces, open files and two batches are needed, class locations and more batches are
  // welcome.
  void plan_memory(LocationCache::Reader reader, std::shared_ptr<MemoryProvider> provider) {
    const auto measure = BatchRing::make(layout_, options_.sampling.batch_size, 0, provider);
    const std::size_t batch = measure->batch_bytes();
    const std::size_t workspaces = static_cast<std::size_t>(options_.threads) *
                                   (pipeline_->workspace_bytes(geometry_, layout_) + OpenVolumes::kMemory);
    // One batch in the consumer's hands and one being made.
    const std::size_t least = workspaces + 2 * batch;
    if (!options_.budget_binds) options_.memory_budget = std::max(options_.memory_budget, least);
    if (options_.memory_budget < least)
      throw BudgetError("memory budget of " + megabytes(options_.memory_budget),
                        "at least " + megabytes(least) + " (" + std::to_string(options_.threads) +
                            " threads: " + megabytes(workspaces) +
                            " of working memory and open files, and 2 batches of " + megabytes(batch) + ")",
                        "less; give more memory or fewer threads");
    const std::size_t spare = options_.memory_budget - least;
    const auto affordable = static_cast<int>(std::min<std::size_t>((spare - spare / 4) / batch + 1, 1000));
    options_.prefetch = std::clamp(options_.prefetch, 1, affordable);
    // Work for every thread while the next batch waits for its consumer.
    const auto samples = static_cast<int>(options_.sampling.batch_size);
    ahead_ = std::min(options_.prefetch, (options_.threads + samples - 1) / samples + 1);
    const std::size_t planned = static_cast<std::size_t>(options_.prefetch + 1) * batch;
    // Of what is left, half is for decompressed blocks, a quarter for class locations, and a quarter for a consumer
    // that keeps batches.
    const std::size_t rest = spare - (planned - 2 * batch);
    const std::size_t for_blocks = options_.keep_blocks ? rest / 2 : 0, for_locations = rest / 4;
    locations_ = std::make_unique<LocationCache>(std::move(reader), for_locations);
    volumes_ = std::make_unique<VolumeCache>(for_blocks);
    ring_ = BatchRing::make(layout_, options_.sampling.batch_size,
                            options_.memory_budget - workspaces - for_blocks - for_locations, std::move(provider));
  }

  // Starts as many batches as may be made ahead. Returns what was thrown where memory is missing: those that were
  // started are on their way all the same. The lock is held, but not while memory is asked for, which may take long
  // where it is pinned: every thread that ends a sample would wait. One consumer at a time asks.
  std::exception_ptr schedule(std::unique_lock<std::mutex>& lock) noexcept {
    try {
      while (!acquiring_ && !closed_ &&
             static_cast<int>(count(Job::State::being_made) + count(Job::State::ready)) < ahead_) {
        std::shared_ptr<BatchMemory> memory;
        std::exception_ptr missing;
        acquiring_ = true;
        lock.unlock();
        try {
          memory = ring_->acquire();
        } catch (...) {
          missing = std::current_exception();
        }
        lock.lock();
        acquiring_ = false;
        if (memory || missing) changed_.notify_all();
        if (missing) return missing;
        if (!memory) break;
        if (closed_) {  // giving it back may take long, too
          lock.unlock();
          memory.reset();
          lock.lock();
          break;
        }
        Job& job = unused_job();
        job.step = submitted_++;
        job.generation = generation_;
        job.memory = std::move(memory);
        job.error_slot = -1;
        start(job, [](const SlotTask&) { return true; });
      }
    } catch (...) {
      return std::current_exception();
    }
    return nullptr;
  }

  // Those slots of the job that are `selected`. Returns how many.
  template <typename Select>
  int start(Job& job, const Select& selected) {
    int started = 0;
    for (SlotTask& task : job.tasks) {
      if (!selected(task)) continue;
      ++started;
      arena_->enqueue(task);  // it waits for the lock before it counts itself as done
    }
    if (started == 0) return 0;
    job.state = Job::State::being_made;
    job.remaining = started;
    running_ += started;
    return started;
  }

  // The lock is held by those who ask for these.
  std::size_t count(Job::State state) const {
    return static_cast<std::size_t>(
        std::count_if(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.state == state; }));
  }
  Job* ready_job(std::uint64_t step) {
    for (Job& job : jobs_)
      if (job.state == Job::State::ready && job.step == step) return &job;
    return nullptr;
  }
  Job& unused_job() {
    for (Job& job : jobs_)
      if (job.state == Job::State::unused) return job;
    return jobs_.emplace_back(*this, options_.sampling.batch_size);
  }
  // When none of their tasks runs any more.
  void drop_jobs() {
    for (Job& job : jobs_) job.drop();
  }

  // A case may be found bad by a batch that comes before batches that took it already: these samples are made again, so
  // that what comes after a step does not depend on how far ahead the threads were. The lock is held.
  bool redo_excluded(Job& job) {
    if (excluded_.empty() || job.error) return false;
    return start(job, [&](const SlotTask& task) { return is_excluded(job.memory->cases[task.slot], job.step); }) > 0;
  }

  bool is_excluded(std::size_t case_number, std::uint64_t step) const {
    const auto found = excluded_.find(case_number);
    return found != excluded_.end() && found->second < step;
  }

  std::unique_ptr<Scratch> take_scratch() {
    const std::lock_guard lock(scratch_mutex_);
    if (scratch_.empty()) return std::make_unique<Scratch>();
    auto scratch = std::move(scratch_.back());
    scratch_.pop_back();
    return scratch;
  }

  // A task: one sample into its place in the batch.
  void work(Arena::ThreadState& thread, Job& job, std::uint32_t slot) noexcept {
    std::exception_ptr error;
    std::size_t case_number = 0;
    bool wanted;
    {
      const std::lock_guard lock(mutex_);
      wanted = job.generation == generation_;
    }
    const Stopwatch watch;
    const std::uint64_t read_before = thread.files.bytes_read();
    if (wanted) {
      try {
        auto scratch = take_scratch();
        {
          // A consumer that lets go of the batch must find its memory free, so it is not referred to for longer.
          struct Refers {
            ~Refers() {
              sample.let_go();
              destination.owner.reset();
            }
            Sample& sample;
            Destination& destination;
          } refers{thread.sample, scratch->destination};
          job.memory->locate(layout_, slot, refers.destination);
          refers.destination.owner = job.memory;
          thread.workspace.activity().begin(this, job.step, slot);
          case_number = make_sample(thread, *scratch, refers.sample, job.step, slot, &refers.destination,
                                    {job.generation, nullptr});
        }
        const std::lock_guard lock(scratch_mutex_);
        scratch_.push_back(std::move(scratch));
      } catch (...) {
        error = std::current_exception();
      }
    }
    if (wanted) sample_times_.add(watch.read());
    thread.workspace.activity().end();
    const std::lock_guard lock(mutex_);
    if (--running_ < options_.threads) idled_ = true;
    bytes_read_ += thread.files.bytes_read() - read_before;
    if (wanted) {
      ++samples_;
      job.memory->cases[slot] = case_number;
      if (error && (job.error_slot < 0 || slot < job.error_slot)) {
        job.error = std::move(error);  // the consumer's alone from here on
        job.error_slot = slot;
      }
    }
    if (--job.remaining == 0) {
      if (job.generation == generation_)
        job.state = Job::State::ready;
      else
        job.drop();
    }
    changed_.notify_all();
  }

  // The way of a sample: case, patch and parameters first, then voxels. Returns the case.
  std::size_t make_sample(Arena::ThreadState& thread, Scratch& scratch, Sample& sample, std::uint64_t step,
                          std::uint32_t slot, const Destination* destination, const Wanted& wanted) {
    SampleId id = sample_id(step, slot);
    std::vector<std::size_t> bad_here;
    for (; id.attempt < kMostAttempts; ++id.attempt) {
      Stream stream(id, kSamplingPurpose);
      const auto choice = sampler_.choose_case(stream, slot);
      const auto number = static_cast<std::size_t>(choice.case_number);
      {
        const std::lock_guard lock(mutex_);
        const bool met = std::find(bad_here.begin(), bad_here.end(), number) != bad_here.end();
        if (met || is_excluded(number, step)) {
          if (!met) bad_here.push_back(number);
          require_good_case_left(id, bad_here);
          require_few_skipped(bad_here);
          continue;
        }
      }
      try {
        fill(thread, scratch, sample, id, stream, choice.force_foreground, number, destination, wanted);
        return number;
      } catch (const SampleError& error) {
        if (!error.failure().bad_case || !options_.skip_bad_cases) throw;
        exclude(number, error.failure());
        bad_here.push_back(number);
        const std::lock_guard lock(mutex_);
        require_few_skipped(bad_here);
      }
    }
    throw SampleError({id, "any", "", "", "no readable case in " + std::to_string(kMostAttempts) + " draws", false},
                      nullptr);
  }

  void fill(Arena::ThreadState& thread, Scratch& scratch, Sample& sample, const SampleId& id, Stream& stream,
            bool force_foreground, std::size_t number, const Destination* destination, const Wanted& wanted) {
    const CaseFiles& files = options_.cases[number];
    TaskFiles& opened = scratch.files;
    opened.begin(*this, thread, number, wanted);
    const Stopwatch watch;
    Activity& activity = thread.workspace.activity();
    activity.take_case(number);
    activity.enter("opening files");
    const auto failure = [&](std::string file, std::string transform, std::string reason, bool bad_case) {
      return SampleFailure{id, files.name, std::move(file), std::move(transform), std::move(reason), bad_case};
    };
    try {
      const VolumeFacts& image = opened.facts(0);
      const Index3 shape = image.shape;
      const VolumeFacts& segmentation = opened.facts(1);
      const VolumeFacts* previous = files.previous.empty() ? nullptr : &opened.facts(2);
      for (int which = 1; which < 3; ++which) {
        const VolumeFacts* other = which == 1 ? &segmentation : previous;
        if (other != nullptr && other->shape != shape)
          throw StorageError(opened.name(which),
                             "expected the image's shape " + text(shape) + ", got " + text(other->shape));
      }
      if (image.channels != geometry_.image_channels)
        throw StorageError(opened.name(0), "expected " + std::to_string(geometry_.image_channels) +
                                               " channels as the other cases have, got " +
                                               std::to_string(image.channels));
      const std::int64_t labels = segmentation.channels + (previous != nullptr ? previous->channels : 0);
      if (labels != geometry_.segmentation_channels)
        throw StorageError(opened.name(1), "expected " + std::to_string(geometry_.segmentation_channels) +
                                               " channels as the other cases have, got " + std::to_string(labels));
      std::shared_ptr<const ClassLocations> locations;
      if (sampler_.needs_locations(force_foreground)) {
        activity.enter("reading properties");
        try {
          locations = opened.patiently([&] { return read_locations(number, shape); });
        } catch (const InvalidArgument& error) {
          throw SampleError(failure(utf8(files.properties), "", error.what(), true), std::current_exception());
        }
      }
      const Box window = [&] {
        try {
          return sampler_.place(stream, shape, force_foreground, locations.get());
        } catch (const InvalidArgument& error) {
          throw SampleError(failure(utf8(files.properties), "", error.what(), true), std::current_exception());
        }
      }();
      scratch.image.open(opened, {0, &image, volumes_->find<float>(file_number(number, 0), image)}, {}, window,
                         options_.check_finite, activity);
      scratch.segmentation.open(
          opened, {1, &segmentation, volumes_->find<std::int16_t>(file_number(number, 1), segmentation)},
          {2, previous,
           previous != nullptr ? volumes_->find<std::int16_t>(file_number(number, 2), *previous) : nullptr},
          window, false, activity);
      activity.enter("drawing parameters");
      pipeline_->draw(id, geometry_, scratch.plan);
      sampling_times_.add(watch.read());
      sample.begin(scratch.image, &scratch.segmentation, options_.dims, destination);
      pipeline_->run(sample, scratch.plan);
      reading_times_.add(sample.reading_time());
    } catch (const ResourceError& error) {
      throw SampleError(failure(error.file(), "", error.reason(), false), std::current_exception());
    } catch (const StorageError& error) {
      SampleFailure told = failure(error.file(), "", error.reason(), true);
      told.may_pass = error.passing() == Passing::yes;
      if (opened.gave_up()) told.reason += tried_for(options_.patience);
      throw SampleError(std::move(told), std::current_exception());
    } catch (const TransformError& error) {
      throw SampleError(failure("", error.transform(), error.what(), false), error.cause());
    } catch (const SampleError&) {
      throw;
    } catch (const ClosedError&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw SampleError(failure("", "", kNoMemory, false), std::current_exception());
    } catch (const std::exception& error) {
      throw SampleError(failure("", "", error.what(), false), std::current_exception());
    }
  }

  std::shared_ptr<const ClassLocations> read_locations(std::size_t number, const Index3& shape) {
    const std::uint32_t file = file_number(number, kProperties);
    try {
      auto locations = locations_->get(number, shape);
      known_.saw(file);
      return locations;
    } catch (const StorageError& error) {
      if (error.passing() == Passing::if_it_was_there && known_.was_there(file))
        throw StorageError(error.file(), error.reason(), Passing::yes);
      throw;
    }
  }

  void exclude(std::size_t number, const SampleFailure& failure) {
    const SampleId& id = failure.id;
    // What may pass says nothing about the file.
    std::string stamp = failure.may_pass ? std::string() : stamp_of_case(options_.cases[number]);
    const std::lock_guard lock(mutex_);
    const auto found = excluded_.find(number);
    const bool earlier = found != excluded_.end() && id.step == found->second && id.slot < bad_[number].slot;
    if (found == excluded_.end() || id.step < found->second || earlier) {
      excluded_[number] = id.step;
      bad_[number] = {failure.case_name, failure.file, failure.reason, id.step, id.slot, id.attempt, std::move(stamp)};
    }
  }

  // Asks only for what this sample found itself or earlier steps did: what others run into meanwhile depends on how far
  // ahead they are. The lock is held.
  void require_good_case_left(const SampleId& id, const std::vector<std::size_t>& bad_here) const {
    const auto& probabilities = options_.sampling.sampling_probabilities;
    for (std::size_t number = 0; number < options_.cases.size(); ++number)
      if (!is_excluded(number, id.step) && std::find(bad_here.begin(), bad_here.end(), number) == bad_here.end() &&
          (probabilities.empty() || probabilities[number] > 0))
        return;
    const BadCase& first = bad_.begin()->second;
    throw SampleError({id, first.name, first.file, "",
                       first.reason + "; every other case is bad as well, there is nothing left to train on", false},
                      nullptr);
  }

  std::size_t most_skipped() const {
    // A product such as 0.29 x 100 may be just below the number that is meant.
    const double share = options_.max_skipped * static_cast<double>(options_.cases.size());
    return std::max<std::size_t>(1, static_cast<std::size_t>(share + 1e-6));
  }

  std::exception_ptr too_many(const std::vector<const BadCase*>& skipped) const {
    char share[32];
    std::snprintf(share, sizeof(share), "%g", options_.max_skipped);
    std::string reason = "expected at most " + std::to_string(most_skipped()) + " of " +
                         std::to_string(options_.cases.size()) + " cases to be skipped (max_skipped=" + share +
                         ", at least one), got " + std::to_string(skipped.size()) + ":";
    for (const BadCase* bad : skipped) reason += "\n  " + bad->name + ": [" + bad->file + "] " + bad->reason;
    const auto place = [](const BadCase* bad) { return std::tuple(bad->step, bad->slot, bad->attempt); };
    const BadCase& last = **std::max_element(skipped.begin(), skipped.end(),
                                             [&](const auto* a, const auto* b) { return place(a) < place(b); });
    SampleId id = sample_id(last.step, last.slot);
    id.attempt = last.attempt;
    return std::make_exception_ptr(SampleError({id, last.name, last.file, "", std::move(reason), false}, nullptr));
  }

  // The error of the first step with more skipped cases than there may be, and of each later one; asked for when all
  // earlier steps are done, so it does not depend on how far ahead the threads are. The lock is held.
  std::exception_ptr too_many_skipped(std::uint64_t step) const {
    if (!options_.skip_bad_cases || bad_.size() <= most_skipped()) return nullptr;
    std::vector<const BadCase*> skipped;
    for (const auto& [number, bad] : bad_)
      if (bad.step <= step) skipped.push_back(&bad);
    // Where all are bad, require_good_case_left() says so.
    return skipped.size() > most_skipped() && skipped.size() < options_.cases.size() ? too_many(skipped) : nullptr;
  }

  // A sample does not go through all cases where all are bad. It counts those that it has drawn, for these do not
  // depend on what others have found meanwhile. The lock is held.
  void require_few_skipped(const std::vector<std::size_t>& bad_here) const {
    // Where all are bad, require_good_case_left() says so.
    if (bad_here.size() <= most_skipped() || bad_here.size() >= options_.cases.size()) return;
    std::vector<const BadCase*> skipped;
    for (const auto& [number, bad] : bad_)
      if (std::find(bad_here.begin(), bad_here.end(), number) != bad_here.end()) skipped.push_back(&bad);
    std::rethrow_exception(too_many(skipped));
  }

  LoaderOptions options_;
  std::shared_ptr<Pipeline> pipeline_;
  PatchSampler sampler_;
  std::uint64_t process_;
  std::shared_ptr<Arena> arena_;
  Geometry geometry_;
  Layout layout_;
  std::unique_ptr<LocationCache> locations_;
  std::unique_ptr<VolumeCache> volumes_;
  KnownFiles known_;
  std::shared_ptr<BatchRing> ring_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;                           // as many as there ever were at a time; they stay where they are
  std::map<std::size_t, std::uint64_t> excluded_;  // case: the step that found it bad
  std::map<std::size_t, BadCase> bad_;
  std::uint64_t step_ = 0;       // of the next batch to hand out
  std::uint64_t submitted_ = 0;  // of the next batch to start
  std::uint64_t generation_ = 0;
  int ahead_ = 1;           // batches made ahead
  bool idled_ = false;      // a thread had nothing to do since `ahead_` was last raised
  int running_ = 0;         // tasks in the arena
  bool acquiring_ = false;  // a consumer asks for a batch's memory, without the lock
  bool closed_ = false;
  bool overdue_ = false;  // a task did not end when the loader was closed
  std::optional<Clock::time_point> first_request_;
  Clock::duration first_batch_{};
  Clock::duration waited_{};
  std::uint64_t batches_ = 0;
  std::uint64_t samples_ = 0;
  std::uint64_t bytes_read_ = 0;
  Durations waits_;
  Durations sample_times_;
  Durations sampling_times_;
  Durations reading_times_;

  std::mutex scratch_mutex_;
  std::vector<std::unique_ptr<Scratch>> scratch_;
};

Loader::Loader(LoaderOptions options, std::shared_ptr<Pipeline> pipeline, LocationCache::Reader reader,
               std::shared_ptr<MemoryProvider> provider, const std::function<void()>& poll)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(pipeline), std::move(reader), std::move(provider),
                                   poll)) {}

Loader::~Loader() {
  // Tasks that do not end, and threads that a fork left behind, still refer to the memory.
  if (close(impl_->patience())) return;
  (void)impl_.release();
}

Batch Loader::next(const std::function<void()>& poll) { return impl_->next(poll); }
std::uint64_t Loader::step() const { return impl_->step(); }
void Loader::set_step(std::uint64_t step, const std::vector<BadCase>& excluded, const std::function<void()>& poll) {
  impl_->set_step(step, excluded, poll);
}
const Layout& Loader::layout() const { return impl_->layout(); }
const LoaderOptions& Loader::options() const { return impl_->options(); }
std::vector<BadCase> Loader::bad_cases() const { return impl_->bad_cases(); }
LoaderStatistics Loader::statistics() const { return impl_->statistics(); }
Loader::Sampled Loader::sampled(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt) const {
  return impl_->sampled(step, slot, attempt);
}
void Loader::make(std::uint64_t step, std::uint32_t slot, std::uint32_t attempt,
                  const std::function<void(Sample&, std::size_t)>& take, const std::function<void()>& poll) {
  impl_->make(step, slot, attempt, take, poll);
}
LoaderActivity Loader::activity() const { return impl_->activity(); }
bool Loader::close(std::chrono::milliseconds patience) { return impl_->close(patience); }

}  // namespace fastnnunet
