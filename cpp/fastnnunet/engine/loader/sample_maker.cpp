#include "fastnnunet/engine/loader/sample_maker.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/text.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kSamplingPurpose = 0;
constexpr std::uint32_t kMostAttempts = 4000;
static_assert(kMostAttempts <= random::Stream::kMostAttempts);

constexpr const char* kNoMemory = "expected memory of the system, got none: the process is at its limit";

std::string tried_for(std::chrono::duration<double> patience) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", patience.count());
  return std::string(" (tried again for ") + text + " s)";
}

}  // namespace

SampleMaker::SampleMaker(const LoaderOptions& options, pipeline::Pipeline& pipeline, BadCases& bad, LoaderLock& lock)
    : options_(options),
      pipeline_(pipeline),
      sampler_(options.sampling, std::ssize(options.cases)),
      lock_(lock),
      bad_(bad),
      files_(options, lock) {}

// Channels and window of any sample: those that most of the first cases have, the earlier ones where as many have
// others.
void SampleMaker::learn_geometry(const std::function<void()>& poll) {
  constexpr std::size_t kAsked = 7;
  std::exception_ptr first_error;
  std::vector<std::pair<CaseGeometry, int>> found;
  storage::OpenVolumes files(storage::OpenVolumes::kOfOneSample);
  std::size_t asked = 0;
  Attempts attempts;  // of all cases together: a server that is away is not waited for again with each of them
  for (std::size_t number = 0; number < options_.cases.size() && asked < kAsked; ++number) {
    const CaseFiles& at = options_.cases[number];
    const auto failure = [&](const StorageError& error, bool bad_case) {
      return SampleFailure{options_.sample_id(0, 0), at.name, error.file(), "", error.reason(), bad_case};
    };
    try {
      const CaseGeometry geometry = geometry_of(at, files, attempts, poll);
      for (int which = 0; which < CaseFiles::kVolumes; ++which) files_.known().saw(file_number(number, which));
      ++asked;
      const auto same =
          std::find_if(found.begin(), found.end(), [&](const auto& other) { return other.first == geometry; });
      if (same == found.end())
        found.emplace_back(geometry, 1);
      else
        ++same->second;
    } catch (const ResourceError& error) {
      throw SampleError(failure(error, false), std::current_exception());
    } catch (const StorageError& error) {
      if (!first_error)
        first_error = std::make_exception_ptr(SampleError(failure(error, true), std::current_exception()));
      if (!options_.skip_bad_cases) break;
    }
  }
  if (found.empty()) std::rethrow_exception(first_error);
  geometry_ = std::max_element(found.begin(), found.end(), [](const auto& a, const auto& b) {
                return a.second < b.second;
              })->first;
}

// Of one case's samples, with the patience for files that the loader has. No thread is at work yet.
SampleMaker::CaseGeometry SampleMaker::geometry_of(const CaseFiles& at, storage::OpenVolumes& files, Attempts& attempts,
                                                   const std::function<void()>& poll) const {
  for (;;) {
    try {
      CaseGeometry found;
      Geometry& geometry = found.sample;
      geometry.shape = sampler_.options().patch_size;
      geometry.dims = options_.dims;
      geometry.image_channels = files.get(at.image, at.image_member).channels();
      geometry.segmentation_channels =
          at.segmentation.empty() ? 0 : files.get(at.segmentation, at.segmentation_member).channels();
      if (!at.previous.empty()) geometry.segmentation_channels += files.get(at.previous, at.previous_member).channels();
      if (!at.regression.empty()) found.regression_channels = files.get(at.regression, at.regression_member).channels();
      return found;
    } catch (const StorageError& error) {
      const auto pause = attempts.pause_after(error, files_.patience());
      if (!pause) throw;
      const auto until = Clock::now() + *pause;
      while (Clock::now() < until) {
        if (poll) poll();
        std::this_thread::sleep_for(std::min<Clock::duration>(kPollInterval, until - Clock::now()));
      }
    }
  }
}

void SampleMaker::set_caches(std::unique_ptr<LocationCache> locations, std::unique_ptr<storage::VolumeCache> volumes) {
  locations_ = std::move(locations);
  volumes_ = std::move(volumes);
}

SampleChoice SampleMaker::choose(const SampleId& id) const {
  storage::OpenVolumes files(storage::OpenVolumes::kOfOneSample);
  random::Stream stream(id, kSamplingPurpose);
  const auto choice = sampler_.choose_case(stream, id.slot);
  const auto number = static_cast<std::size_t>(choice.case_number);
  const Index3 shape = files.get(options_.cases[number].image, options_.cases[number].image_member).shape();
  std::shared_ptr<const ClassLocations> locations;
  if (sampler_.needs_locations(choice.force_foreground)) locations = locations_->get(number, shape);
  return {number, choice.force_foreground, sampler_.place(stream, shape, choice.force_foreground, locations.get())};
}

std::size_t SampleMaker::make(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample, SampleId id,
                              const sample::Destination* destination, const Wanted& wanted) {
  std::vector<std::size_t> bad_here;
  for (; id.attempt < kMostAttempts; ++id.attempt) {
    random::Stream stream(id, kSamplingPurpose);
    const auto choice = sampler_.choose_case(stream, id.slot);
    const auto number = static_cast<std::size_t>(choice.case_number);
    {
      const base::MutexLock lock(lock_.mutex);
      const bool met = std::find(bad_here.begin(), bad_here.end(), number) != bad_here.end();
      if (met || bad_.is_excluded(number, id.step)) {
        if (!met) bad_here.push_back(number);
        bad_.require_good_case_left(id, bad_here);
        bad_.require_few_skipped(bad_here);
        continue;
      }
    }
    try {
      fill(thread, scratch, sample, id, stream, choice.force_foreground, number, destination, wanted);
      return number;
    } catch (const SampleError& error) {
      if (!error.failure().bad_case || !options_.skip_bad_cases) throw;
      // What may pass says nothing about the file.
      std::string stamp = error.failure().may_pass ? std::string() : stamp_of_case(options_.cases[number]);
      bad_here.push_back(number);
      const base::MutexLock lock(lock_.mutex);
      bad_.exclude(number, error.failure(), std::move(stamp));
      bad_.require_few_skipped(bad_here);
    }
  }
  throw SampleError({id, "any", "", "", "no readable case in " + std::to_string(kMostAttempts) + " draws", false},
                    nullptr);
}

std::size_t SampleMaker::make_attempt(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample,
                                      const SampleId& id, const Wanted& wanted) {
  random::Stream stream(id, kSamplingPurpose);
  const auto choice = sampler_.choose_case(stream, id.slot);
  const auto number = static_cast<std::size_t>(choice.case_number);
  fill(thread, scratch, sample, id, stream, choice.force_foreground, number, nullptr, wanted);
  return number;
}

SampleMaker::Facts SampleMaker::checked_facts(TaskFiles& files, const CaseFiles& at) const {
  const VolumeFacts& image = files.facts(CaseFiles::kImage);
  const VolumeFacts* segmentation = at.segmentation.empty() ? nullptr : &files.facts(CaseFiles::kSegmentation);
  const VolumeFacts* previous = at.previous.empty() ? nullptr : &files.facts(CaseFiles::kPrevious);
  const VolumeFacts* regression = at.regression.empty() ? nullptr : &files.facts(CaseFiles::kRegression);
  for (const auto& [which, other] : {std::pair(CaseFiles::kSegmentation, segmentation),
                                     {CaseFiles::kPrevious, previous},
                                     {CaseFiles::kRegression, regression}})
    if (other != nullptr && other->shape != image.shape)
      throw StorageError(files.name(which),
                         "expected the image's shape " + base::text(image.shape) + ", got " + base::text(other->shape));
  const Geometry& usual = geometry();
  if (image.channels != usual.image_channels)
    throw StorageError(files.name(CaseFiles::kImage), "expected " + std::to_string(usual.image_channels) +
                                                          " channels as the other cases have, got " +
                                                          std::to_string(image.channels));
  const std::int64_t labels =
      (segmentation != nullptr ? segmentation->channels : 0) + (previous != nullptr ? previous->channels : 0);
  if (labels != usual.segmentation_channels)
    throw StorageError(files.name(CaseFiles::kSegmentation), "expected " + std::to_string(usual.segmentation_channels) +
                                                                 " channels as the other cases have, got " +
                                                                 std::to_string(labels));
  if (regression != nullptr && regression->channels != geometry_.regression_channels)
    throw StorageError(files.name(CaseFiles::kRegression), "expected " + std::to_string(geometry_.regression_channels) +
                                                               " channels as the other cases have, got " +
                                                               std::to_string(regression->channels));
  return {&image, segmentation, previous, regression};
}

void SampleMaker::fill(Arena::ThreadState& thread, SampleScratch& scratch, sample::Sample& sample, const SampleId& id,
                       random::Stream& stream, bool force_foreground, std::size_t number,
                       const sample::Destination* destination, const Wanted& wanted) {
  const CaseFiles& at = options_.cases[number];
  TaskFiles& files = scratch.files;
  sample::Activity& activity = thread.workspace.activity();
  files.begin(files_, thread.files, activity, number, wanted);
  const Stopwatch watch;
  activity.take_case(number);
  activity.enter("opening files");
  const auto failure = [&](std::string file, std::string transform, std::string reason, bool bad_case) {
    return SampleFailure{id, at.name, std::move(file), std::move(transform), std::move(reason), bad_case};
  };
  try {
    const auto [image, segmentation, previous, regression] = checked_facts(files, at);
    std::shared_ptr<const ClassLocations> locations;
    Box window;
    try {
      if (sampler_.needs_locations(force_foreground)) {
        activity.enter("reading properties");
        locations = files.patiently([&, shape = image->shape] { return read_locations(number, shape); });
      }
      window = sampler_.place(stream, image->shape, force_foreground, locations.get());
    } catch (const InvalidArgument& error) {
      throw SampleError(failure(platform::utf8(at.properties), "", error.what(), true), std::current_exception());
    }
    const auto kept_labels = [&](int which, const VolumeFacts* facts) {
      return facts != nullptr ? volumes_->find<std::int16_t>(file_number(number, which), *facts) : nullptr;
    };
    const auto file_of_floats = [&](int which, const VolumeFacts* facts) {
      return WindowSource<float>::File{which, facts, volumes_->find<float>(file_number(number, which), *facts)};
    };
    scratch.image.open(files, file_of_floats(CaseFiles::kImage, image), {}, window, options_.check_finite, activity);
    if (regression != nullptr)
      scratch.regression.open(files, file_of_floats(CaseFiles::kRegression, regression), {}, window,
                              options_.check_finite, activity);
    if (segmentation != nullptr)
      scratch.segmentation.open(
          files, {CaseFiles::kSegmentation, segmentation, kept_labels(CaseFiles::kSegmentation, segmentation)},
          {CaseFiles::kPrevious, previous, kept_labels(CaseFiles::kPrevious, previous)}, window, false, activity);
    activity.enter("drawing parameters");
    pipeline_.draw(id, geometry(), scratch.plan);
    sampling_times_.add(watch.read());
    sample.begin(scratch.image, segmentation != nullptr ? &scratch.segmentation : nullptr, options_.dims, destination);
    std::chrono::nanoseconds of_target{};
    if (regression != nullptr && pipeline_.takes_followers_to_python()) {
      of_target = run_with_target(scratch, sample, destination);
    } else {
      pipeline_.run(sample, scratch.plan);
      if (regression != nullptr) of_target = move_target(thread, scratch, sample, destination);
    }
    reading_times_.add(sample.reading_time() + of_target);
  } catch (const ResourceError& error) {
    throw SampleError(failure(error.file(), "", error.reason(), false), std::current_exception());
  } catch (const StorageError& error) {
    SampleFailure told = failure(error.file(), "", error.reason(), true);
    told.may_pass = error.passing() == Passing::yes;
    if (files.gave_up()) told.reason += tried_for(options_.patience);
    throw SampleError(std::move(told), std::current_exception());
  } catch (const pipeline::TransformError& error) {
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

std::chrono::nanoseconds SampleMaker::run_with_target(SampleScratch& scratch, sample::Sample& sample,
                                                      const sample::Destination* destination) {
  if (!scratch.beside) scratch.beside.emplace();
  if (destination != nullptr) {
    scratch.moved.image = destination->regression;
    scratch.moved.owner = destination->owner;
  }
  sample::Sample target(*scratch.beside);
  target.begin(scratch.regression, nullptr, options_.dims, destination != nullptr ? &scratch.moved : nullptr);
  sample.set_follower(&target);
  pipeline_.run(sample, scratch.plan);
  sample.set_follower(nullptr);
  if (destination == nullptr) {
    scratch.moved.image = target.image();
    scratch.moved_values.assign(target.image().data, target.image().data + target.image().size());
    scratch.moved.image.data = scratch.moved_values.data();
  }
  sample.set_regression(scratch.moved.image);
  return target.reading_time();
}

// When the sample is in its batch, its memory is free for the target; where no batch takes it, that is still in use.
std::chrono::nanoseconds SampleMaker::move_target(Arena::ThreadState& thread, SampleScratch& scratch,
                                                  sample::Sample& sample, const sample::Destination* destination) {
  std::optional<sample::Workspace> own;
  if (destination != nullptr) {
    scratch.moved.image = destination->regression;
  } else {
    const Geometry form = pipeline_.after_moves(regression_geometry());
    scratch.moved.image = {nullptr, form.image_channels, form.shape};
    scratch.moved_values.resize(static_cast<std::size_t>(scratch.moved.image.size()));
    scratch.moved.image.data = scratch.moved_values.data();
    own.emplace();
  }
  sample::Sample target(own ? *own : thread.workspace);
  target.begin(scratch.regression, nullptr, options_.dims, &scratch.moved);
  pipeline_.run_moves(target, scratch.plan);
  sample.set_regression(scratch.moved.image);
  return target.reading_time();
}

Geometry SampleMaker::regression_geometry() const {
  Geometry geometry = geometry_.sample;
  geometry.image_channels = geometry_.regression_channels;
  geometry.segmentation_channels = 0;
  return geometry;
}

std::shared_ptr<const ClassLocations> SampleMaker::read_locations(std::size_t number, const Index3& shape) {
  const std::uint32_t file = file_number(number, CaseFiles::kProperties);
  try {
    auto locations = locations_->get(number, shape);
    files_.known().saw(file);
    return locations;
  } catch (const StorageError& error) {
    if (error.passing() == Passing::if_it_was_there && files_.known().was_there(file))
      throw StorageError(error.file(), error.reason(), Passing::yes);
    throw;
  }
}

std::unique_ptr<SampleScratch> SampleMaker::take_scratch() {
  const base::MutexLock lock(scratch_mutex_);
  if (scratch_.empty()) return std::make_unique<SampleScratch>();
  auto scratch = std::move(scratch_.back());
  scratch_.pop_back();
  return scratch;
}

void SampleMaker::give_scratch(std::unique_ptr<SampleScratch> scratch) {
  const base::MutexLock lock(scratch_mutex_);
  scratch_.push_back(std::move(scratch));
}

}  // namespace fastnnunet::engine
