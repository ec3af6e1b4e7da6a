#include "fastnnunet/engine/loader/loader.h"

#include <pybind11/chrono.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <optional>
#include <tuple>

#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/platform/system_errors.h"

namespace fastnnunet::bindings {
namespace {

// (name, file, reason, step, slot, attempt, stamp)
using BadCaseTuple =
    std::tuple<std::string, std::string, std::string, std::uint64_t, std::uint32_t, std::uint32_t, std::string>;

// `places(case_number, which)` gives a place, see `to_place`.
FilePlaces file_places(const py::object& places) {
  if (places.is_none()) return {};
  const SharedObject held = share(places);
  return [held](std::size_t case_number, int which) {
    const py::gil_scoped_acquire lock;
    try {
      return to_place((*held)(case_number, which));
    } catch (py::error_already_set& error) {
      raise_storage_error(error);
    }
  };
}

// `reader(case_number)` gives [(labels, is_region, is_annotated, voxels (N, 3 or 4) int64)].
LocationReader location_reader(const py::function& reader) {
  const SharedObject held = share(reader);
  return [held](std::size_t case_number, const Index3& shape) {
    const py::gil_scoped_acquire lock;
    py::list classes;
    try {
      classes = py::cast<py::list>((*held)(case_number));
    } catch (py::error_already_set& error) {
      raise_storage_error(error);
    }
    ClassLocations locations(shape);
    for (const py::handle item : classes) {
      const auto entry = py::cast<py::tuple>(item);
      const auto voxels = py::cast<py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>>(entry[3]);
      const int columns = voxels.ndim() == 2 ? static_cast<int>(voxels.shape(1)) : 4;
      locations.add(py::cast<std::vector<std::int64_t>>(entry[0]), py::cast<bool>(entry[1]), py::cast<bool>(entry[2]),
                    {voxels.data(), static_cast<std::size_t>(voxels.size())}, columns);
    }
    return locations;
  };
}

// Work in the threads may need Python's lock: whoever waits for them must not hold it.
void destroy(Loader* loader) {
  if (PyGILState_Check() != 0) {
    const py::gil_scoped_release release;
    delete loader;
  } else {
    delete loader;
  }
}

void check_signals() {
  const py::gil_scoped_acquire lock;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

py::capsule keep(const std::shared_ptr<BatchMemory>& memory) {
  auto held = std::make_unique<std::shared_ptr<BatchMemory>>(memory);
  py::capsule capsule(held.get(), [](void* kept) { delete static_cast<std::shared_ptr<BatchMemory>*>(kept); });
  (void)held.release();
  return capsule;
}

std::vector<py::ssize_t> batch_shape(std::int64_t samples, std::int64_t channels, const Index3& shape, int dims) {
  std::vector<py::ssize_t> sizes{samples, channels};
  for (int axis = 3 - dims; axis < 3; ++axis) sizes.push_back(shape[axis]);
  return sizes;
}

// Hears signals, and calls `on_stall` with the seconds that the wait has taken when these are `patience`; again when
// they are what it returned, if that is not None. What it raises ends the wait.
class Waiting {
 public:
  Waiting(double patience, const py::function& on_stall) : patience_(patience), on_stall_(on_stall) {}

  void operator()() {
    check_signals();
    const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    if (!patience_ || waited < *patience_) return;
    const py::gil_scoped_acquire lock;
    patience_ = on_stall_(waited).cast<std::optional<double>>();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<double> patience_;
  const py::function& on_stall_;
};

// (data, targets, regression target or None, case numbers, step): arrays over the batch's memory, which they keep.
py::tuple next(Loader& loader, double patience, const py::function& on_stall) {
  Batch batch;
  Waiting waiting(patience, on_stall);
  {
    const py::gil_scoped_release release;
    batch = loader.next([&] { waiting(); });
  }
  const Layout& layout = loader.layout();
  const std::int64_t samples = loader.options().sampling.batch_size;
  const py::capsule owner = keep(batch.memory);
  const py::array data(py::dtype::of<float>(),
                       batch_shape(samples, layout.image_channels, layout.image_shape, layout.dims), batch.memory->data,
                       owner);
  py::list targets;
  for (std::size_t i = 0; i < layout.targets.size(); ++i) {
    const auto& target = layout.targets[i];
    targets.append(py::array(dtype_of(target.type), batch_shape(samples, target.channels, target.shape, layout.dims),
                             batch.memory->targets[i], owner));
  }
  py::object regression = py::none();
  if (batch.memory->regression != nullptr)
    regression = py::array(py::dtype::of<float>(),
                           batch_shape(samples, layout.regression_channels, layout.regression_shape, layout.dims),
                           batch.memory->regression, owner);
  return py::make_tuple(data, targets, regression, batch.cases(), batch.step);
}

std::shared_ptr<Loader> make(LoaderOptions options, const BoundPipeline& bound, const py::function& reader,
                             const std::string& memory_kind, double patience, const py::function& on_stall) {
  Waiting waiting(patience, on_stall);
  auto locations = location_reader(reader);
  auto memory = make_memory(memory_kind);
  const auto poll = [&] {
    try {
      waiting();
    } catch (py::error_already_set&) {
      // The first sample is waited for: what it does in Python must end.
      const py::gil_scoped_acquire lock;
      py::module_::import("fastnnunet_loader.transforms.python").attr("interrupt_all")();
      throw;
    }
  };
  const py::gil_scoped_release release;
  return {new Loader(std::move(options), bound.pipeline, std::move(locations), std::move(memory), poll), destroy};
}

// (image, targets, target_is_list, regression target or None, case number): arrays of their own.
py::tuple make_sample(Loader& loader, std::uint64_t step, std::uint32_t slot, std::uint32_t attempt) {
  py::object image;
  py::object regression = py::none();
  py::list targets;
  std::size_t number = 0;
  const auto take = [&](sample::Sample& sample, std::size_t case_number) {
    const py::gil_scoped_acquire lock;
    const py::handle nobody;  // NumPy allocates, and copies
    image = image_array(sample.image(), sample.dims(), nobody);
    for (const sample::Target& target : sample.targets()) targets.append(target_array(target, sample.dims(), nobody));
    if (sample.regression().data != nullptr) regression = image_array(sample.regression(), sample.dims(), nobody);
    number = case_number;
  };
  {
    const py::gil_scoped_release release;
    loader.make(step, slot, attempt, take, check_signals);
  }
  return py::make_tuple(image, targets, loader.layout().target_is_list, regression, number);
}

py::object activity(const Loader& loader) {
  LoaderActivity now;
  {
    const py::gil_scoped_release release;
    now = loader.activity();
  }
  py::list threads;
  for (const ThreadActivity& t : now.threads)
    threads.append(py::make_tuple(t.thread, t.step, t.slot, t.case_name, t.stage, t.stage_seconds, t.sample_seconds));
  return py::make_tuple(now.step, now.tasks, now.ready, now.being_made, now.in_use, threads);
}

}  // namespace

void add_loader(py::module_& module) {
  py::class_<CaseFiles>(module, "CaseFiles")
      .def(py::init([](std::string name, std::filesystem::path image, std::filesystem::path segmentation,
                       std::filesystem::path previous, std::string image_member, std::string segmentation_member,
                       std::string previous_member, std::filesystem::path properties, std::filesystem::path regression,
                       std::string regression_member) {
             return CaseFiles{std::move(name),
                              std::move(image),
                              std::move(segmentation),
                              std::move(previous),
                              std::move(image_member),
                              std::move(segmentation_member),
                              std::move(previous_member),
                              std::move(properties),
                              std::move(regression),
                              std::move(regression_member)};
           }),
           py::kw_only(), py::arg("name"), py::arg("image"), py::arg("segmentation"), py::arg("previous") = "",
           py::arg("image_member") = "data", py::arg("segmentation_member") = "seg", py::arg("previous_member") = "seg",
           py::arg("properties") = "", py::arg("regression") = "", py::arg("regression_member") = "target")
      .def_readonly("name", &CaseFiles::name)
      .def_readonly("image", &CaseFiles::image)
      .def_readonly("segmentation", &CaseFiles::segmentation)
      .def_readonly("previous", &CaseFiles::previous)
      .def_readonly("properties", &CaseFiles::properties)
      .def_readonly("regression", &CaseFiles::regression);
  module.def("find_cases", &find_cases, py::arg("folder"), py::kw_only(), py::arg("labelled") = true,
             py::call_guard<py::gil_scoped_release>());
  module.def("stamp_of_case", &stamp_of_case, py::arg("files"), py::call_guard<py::gil_scoped_release>());
  module.def("passing", [](int number) { return platform::passing_errno(number) == Passing::yes; }, py::arg("errno"));
  // code: of the system; on Windows what an OSError has as `winerror`.
  module.def("system_passing", [](int code) { return platform::passing(code) == Passing::yes; }, py::arg("code"));

  py::class_<SamplingOptions>(module, "SamplingOptions")
      .def(py::init([](std::int64_t batch_size, const Index3& patch_size, const Index3& final_patch_size,
                       const Index3& pad_sides, double oversample_foreground, bool probabilistic_oversampling,
                       bool has_ignore, std::vector<double> sampling_probabilities, std::int64_t first_slot,
                       std::int64_t global_batch_size) {
             return SamplingOptions{batch_size,
                                    patch_size,
                                    final_patch_size,
                                    pad_sides,
                                    oversample_foreground,
                                    probabilistic_oversampling,
                                    has_ignore,
                                    std::move(sampling_probabilities),
                                    first_slot,
                                    global_batch_size};
           }),
           py::kw_only(), py::arg("batch_size"), py::arg("patch_size"), py::arg("final_patch_size"),
           py::arg("pad_sides"), py::arg("oversample_foreground"), py::arg("probabilistic_oversampling"),
           py::arg("has_ignore"), py::arg("sampling_probabilities"), py::arg("first_slot") = 0,
           py::arg("global_batch_size") = 0);

  py::class_<LoaderOptions>(module, "LoaderOptions")
      .def(py::init([](std::vector<CaseFiles> cases, const SamplingOptions& sampling, int dims, std::uint64_t seed,
                       std::uint32_t rank, std::uint32_t role, int threads, int most_threads, int prefetch,
                       std::size_t memory_budget, bool budget_binds, bool skip_bad_cases, double max_skipped,
                       double patience, bool check_finite, bool keep_blocks, const py::object& places) {
             LoaderOptions options;
             options.places = file_places(places);
             options.cases = std::move(cases);
             options.sampling = sampling;
             options.dims = dims;
             options.seed = seed;
             options.rank = rank;
             options.role = role;
             options.threads = threads;
             options.most_threads = most_threads;
             options.prefetch = prefetch;
             options.memory_budget = memory_budget;
             options.budget_binds = budget_binds;
             options.skip_bad_cases = skip_bad_cases;
             options.max_skipped = max_skipped;
             options.patience = std::chrono::duration<double>(patience);
             options.check_finite = check_finite;
             options.keep_blocks = keep_blocks;
             return options;
           }),
           py::kw_only(), py::arg("cases"), py::arg("sampling"), py::arg("dims"), py::arg("seed"), py::arg("rank"),
           py::arg("role"), py::arg("threads"), py::arg("most_threads"), py::arg("prefetch"), py::arg("memory_budget"),
           py::arg("budget_binds"), py::arg("skip_bad_cases"), py::arg("max_skipped"), py::arg("patience"),
           py::arg("check_finite"), py::arg("keep_blocks"), py::arg("places") = py::none());

  py::class_<Durations::Summary>(module, "Durations")
      .def_readonly("count", &Durations::Summary::count)
      .def_readonly("total", &Durations::Summary::total)
      .def_readonly("median", &Durations::Summary::median)
      .def_readonly("p99", &Durations::Summary::p99);

  py::class_<StageStatistics>(module, "StageStatistics")
      .def_readonly("name", &StageStatistics::name)
      .def_readonly("native", &StageStatistics::native)
      .def_readonly("time", &StageStatistics::time);

  py::class_<LoaderStatistics>(module, "LoaderStatistics")
      .def_readonly("batches", &LoaderStatistics::batches)
      .def_readonly("samples", &LoaderStatistics::samples)
      .def_readonly("waited_seconds", &LoaderStatistics::waited_seconds)
      .def_readonly("first_batch_seconds", &LoaderStatistics::first_batch_seconds)
      .def_readonly("running_seconds", &LoaderStatistics::running_seconds)
      .def_readonly("wait", &LoaderStatistics::wait)
      .def_readonly("sample", &LoaderStatistics::sample)
      .def_readonly("stages", &LoaderStatistics::stages)
      .def_readonly("bytes_read", &LoaderStatistics::bytes_read)
      .def_readonly("cache_bytes", &LoaderStatistics::cache_bytes)
      .def_readonly("cache_hits", &LoaderStatistics::cache_hits)
      .def_readonly("cache_misses", &LoaderStatistics::cache_misses)
      .def_readonly("ready_batches", &LoaderStatistics::ready_batches)
      .def_readonly("batch_bytes", &LoaderStatistics::batch_bytes)
      .def_readonly("batches_in_use", &LoaderStatistics::batches_in_use)
      .def_readonly("workspace_bytes", &LoaderStatistics::workspace_bytes)
      .def_readonly("location_bytes", &LoaderStatistics::location_bytes)
      .def_readonly("location_reads", &LoaderStatistics::location_reads)
      .def_readonly("open_files", &LoaderStatistics::open_files)
      .def_readonly("open_file_bytes", &LoaderStatistics::open_file_bytes)
      .def_readonly("memory_budget", &LoaderStatistics::memory_budget)
      .def_readonly("threads", &LoaderStatistics::threads)
      .def_readonly("prefetch", &LoaderStatistics::prefetch)
      .def_readonly("prefetch_limit", &LoaderStatistics::prefetch_limit);

  py::class_<Loader, std::shared_ptr<Loader>>(module, "Loader")
      .def(py::init(&make), py::arg("options"), py::arg("pipeline"), py::arg("locations"), py::arg("memory"),
           py::arg("patience"), py::arg("on_stall"))
      .def("next", &next, py::arg("patience"), py::arg("on_stall"))
      .def("make", &make_sample, py::arg("step"), py::arg("slot"), py::arg("attempt"))
      .def("activity", &activity)
      .def_property_readonly("step",
                             [](const Loader& loader) {
                               const py::gil_scoped_release release;
                               return loader.step();
                             })
      .def(
          "set_step",
          [](Loader& loader, std::uint64_t step, const std::vector<BadCaseTuple>& excluded) {
            std::vector<BadCase> bad;
            bad.reserve(excluded.size());
            for (const auto& [name, file, reason, since, slot, attempt, stamp] : excluded)
              bad.push_back({name, file, reason, since, slot, attempt, stamp});
            loader.set_step(step, bad, check_signals);
          },
          py::arg("step"), py::arg("excluded"), py::call_guard<py::gil_scoped_release>())
      .def("bad_cases",
           [](const Loader& loader) {
             std::vector<BadCase> bad;
             {
               const py::gil_scoped_release release;
               bad = loader.bad_cases();
             }
             py::list list;
             for (const BadCase& b : bad)
               list.append(py::make_tuple(b.name, b.file, b.reason, b.step, b.slot, b.attempt, b.stamp));
             return list;
           })
      .def("statistics", &Loader::statistics, py::call_guard<py::gil_scoped_release>())
      .def(
          "sampled",
          [](Loader& loader, std::uint64_t step, std::uint32_t slot, std::uint32_t attempt) {
            SampleChoice sampled{};
            {
              const py::gil_scoped_release release;
              sampled = loader.sampled(step, slot, attempt);
            }
            return py::make_tuple(sampled.case_number, sampled.force_foreground, sampled.window.lower,
                                  sampled.window.upper);
          },
          py::arg("step"), py::arg("slot"), py::arg("attempt") = 0)
      .def("cases_of", &Loader::cases_of, py::arg("step"), py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("target_is_list", [](const Loader& loader) { return loader.layout().target_is_list; })
      .def("close", &Loader::close, py::arg("patience"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace fastnnunet::bindings
