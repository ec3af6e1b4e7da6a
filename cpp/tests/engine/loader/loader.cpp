#include "fastnnunet/engine/loader/loader.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "engine/cases.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

TEST_CASE("loader: the same batches for any number of threads and any prefetch", "[engine]") {
  const Cases cases(5);
  for (const TreeKind kind : {TreeKind::full_3d, TreeKind::regions}) {
    CAPTURE(name_of(kind));
    const auto expected = take(*loader_of(options_for(cases, 1, 1, kind), kind), 6);
    std::set<std::size_t> seen;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(expected[i].step == i);
      REQUIRE(expected[i].targets.size() == 2);
      for (const float value : expected[i].image) REQUIRE(std::isfinite(value));
      seen.insert(expected[i].cases.begin(), expected[i].cases.end());
    }
    CHECK(seen.size() >= 4);
    CHECK(expected[0].image != expected[1].image);
    for (const int threads : {1, 2, 8})
      for (int prefetch = 1; prefetch <= 6; ++prefetch) {
        CAPTURE(threads, prefetch);
        CHECK(take(*loader_of(options_for(cases, threads, prefetch, kind), kind), 6) == expected);
      }
  }
}

TEST_CASE("loader: every kind of data set gives the batches that its layout says", "[engine]") {
  const Cases cases(3);
  for (const TreeKind kind :
       {TreeKind::dummy_2d, TreeKind::no_full_scale, TreeKind::intensity_first, TreeKind::validation}) {
    CAPTURE(name_of(kind));
    const auto one = loader_of(options_for(cases, 1, 1, kind), kind);
    CHECK(one->layout().image_shape == tree_of(kind).shape);
    CHECK(take(*one, 3) == take(*loader_of(options_for(cases, 4, 3, kind), kind), 3));
  }
}

TEST_CASE("loader: a cascade reads the previous stage's segmentation", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = options_for(cases, 2, 2, TreeKind::cascade);
  for (CaseFiles& files : options.cases) files.previous = files.segmentation;
  const auto loader = loader_of(options, TreeKind::cascade);
  CHECK(loader->layout().image_channels == 4);
  for (const Content& content : take(*loader, 3)) {
    const std::size_t channel = 12 * 14 * 16;
    double one_hot = 0;
    for (std::size_t i = 2 * channel; i < 4 * channel; ++i) {
      REQUIRE((content.image[i] == 0.0f || content.image[i] == 1.0f));
      one_hot += content.image[i];
    }
    CHECK(one_hot > 0);
  }
}

TEST_CASE("loader: seed, rank and role give streams of their own", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = options_for(cases);
  std::set<std::vector<float>> seen;
  const auto add = [&] { seen.insert(next_of(*loader_of(options)).image); };
  add();
  add();
  CHECK(seen.size() == 1);
  options.seed = 18;
  add();
  options.seed = 17;
  options.rank = 1;
  add();
  options.rank = 0;
  options.role = 1;
  add();
  CHECK(seen.size() == 4);
}

TEST_CASE("loader: resumes at any step, whatever was made ahead", "[engine]") {
  const Cases cases(4);
  const auto expected = take(*loader_of(options_for(cases, 2, 2)), 8);
  const auto loader = loader_of(options_for(cases, 4, 6));
  loader->set_step(5, {});
  CHECK(loader->step() == 5);
  CHECK(next_of(*loader) == expected[5]);
  loader->set_step(1, {});  // batches 6 to 11 are on their way
  CHECK(next_of(*loader) == expected[1]);
  CHECK(loader->step() == 2);
  for (int i = 0; i < 10; ++i) loader->set_step(static_cast<std::uint64_t>(i % 8), {});
  CHECK(next_of(*loader) == expected[1]);
  CHECK(next_of(*loader) == expected[2]);
}

TEST_CASE("loader: cases and windows can be asked for without making them", "[engine]") {
  const Cases cases(5);
  const auto loader = loader_of(options_for(cases));
  for (int step = 0; step < 4; ++step) {
    const Batch batch = loader->next({});
    for (std::uint32_t slot = 0; slot < 3; ++slot) {
      const auto sampled = loader->sampled(batch.step, slot);
      CHECK(sampled.case_number == batch.cases()[slot]);
      CHECK(sampled.force_foreground == (slot == 2));
      CHECK(sampled.window.shape() == tree_of(TreeKind::full_3d).geometry.shape);
    }
  }
}

TEST_CASE("loader: statistics say what was done", "[engine]") {
  const Cases cases(3);
  const auto loader = loader_of(options_for(cases, 2, 2));
  take(*loader, 4);
  // Until all that may be made ahead is made.
  while (loader->statistics().ready_batches < 2) std::this_thread::yield();
  const LoaderStatistics s = loader->statistics();
  CHECK(s.batches == 4);
  CHECK(s.samples >= 12);
  CHECK(s.bytes_read > 0);
  CHECK(s.sample.count == s.samples);
  CHECK(s.sample.median > 0);
  CHECK(s.sample.p99 >= s.sample.median);
  CHECK(s.wait.count == 4);
  CHECK(s.running_seconds >= s.waited_seconds);
  // The stages of a sample follow one another and leave little between them.
  double stages = 0;
  for (const StageStatistics& stage : s.stages) {
    CAPTURE(stage.name);
    CHECK(stage.native);
    CHECK(stage.time.count <= s.samples);
    stages += stage.time.total;
  }
  CHECK(s.stages.front().name == "sampling");
  CHECK(s.stages.at(1).name == "reading");
  CHECK(s.stages.at(1).time.count == s.samples);
  CHECK(s.stages.at(1).time.total > 0);
  CHECK(s.stages.back().name == "writing");
  CHECK(s.stages.back().time.count == s.samples);
  CHECK(s.stages.size() > 4);
  CHECK(stages <= s.sample.total);
  CHECK(stages >= 0.5 * s.sample.total);
  CHECK(s.first_batch_seconds > 0);
  CHECK(s.batch_bytes == 3 * (2 * 4 + 2) * 12 * 14 * 16 + 3 * 2 * 6 * 7 * 8);
  CHECK(s.location_reads >= 1);
  CHECK(s.location_reads <= 3);
  CHECK(s.open_files > 0);
  CHECK(s.threads == 2);
  CHECK(s.prefetch_limit == 2);
}

TEST_CASE("loader: options that make no sense are refused", "[engine]") {
  const Cases cases(2);
  LoaderOptions options = options_for(cases, 0);
  CHECK_THROWS_AS(loader_of(options), InvalidArgument);
  options = options_for(cases);
  options.cases.clear();
  CHECK(has(message_of([&] { loader_of(options); }), "at least one case"));
}

TEST_CASE("loader: the previous stage's labels are its own, kept in memory or not", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 2, TreeKind::cascade);
  options.cases = {cases.files()[1], cases.files()[3]};  // .b2nd, which are kept
  for (const std::size_t number : {0, 1}) {
    const Index3& shape = cases.shape(2 * number + 1);
    auto labels = ramp<std::int16_t>({1, shape[0], shape[1], shape[2]});
    for (std::int16_t& label : labels.values) label = static_cast<std::int16_t>((label / 7) % 4);
    CaseFiles& files = options.cases[number];
    files.previous = files.image.parent_path() / (files.name + "_previous.b2nd");
    write_b2nd(files.previous, labels, "<i2", {{1, 32, 32, 32}, {1, 8, 16, 16}});
  }
  const auto kept = take(*loader_of(options, TreeKind::cascade), 6);
  options.keep_blocks = false;
  CHECK(take(*loader_of(options, TreeKind::cascade), 6) == kept);
}

TEST_CASE("loader: files are read where the loader is told, and the cases of a step are known before", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 2);
  const auto expected = take(*loader_of(options), 6);
  const std::vector<CaseFiles> there = options.cases;
  for (CaseFiles& files : options.cases) {  // one of the formats is told by the name
    files.image = "elsewhere" / files.image.filename();
    files.segmentation = "elsewhere" / files.segmentation.filename();
  }
  std::atomic<int> asked = 0;
  options.places = [&](std::size_t number, int which) {
    ++asked;
    return *there[number].volume(which).first;
  };
  const auto loader = loader_of(options);
  CHECK(loader->cases_of(4) == expected[4].cases);
  CHECK(take(*loader, 6) == expected);
  CHECK(asked > 0);
  options.places = [](std::size_t, int) -> std::filesystem::path {
    throw StorageError("far/away", "expected a copy, got none");
  };
  CHECK_THROWS_AS(loader_of(options), SampleError);
}

TEST_CASE("loader: a later attempt is another sample, the same by itself and when it is asked for", "[engine]") {
  const Cases cases(5);
  const auto loader = loader_of(options_for(cases));
  std::set<std::size_t> numbers;
  for (std::uint32_t attempt = 0; attempt < 8; ++attempt) {
    CAPTURE(attempt);
    const SampleChoice choice = loader->sampled(3, 1, attempt);
    std::size_t made = 99;
    loader->make(3, 1, attempt, [&](sample::Sample&, std::size_t number) { made = number; });
    CHECK(made == choice.case_number);
    numbers.insert(made);
  }
  CHECK(numbers.size() > 1);
  CHECK(loader->activity().threads.empty());
}

TEST_CASE("loader: statistics of later batches are added to those of earlier ones", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = options_for(cases, 1, 1);
  options.keep_blocks = false;
  const auto loader = loader_of(options);
  const auto settled = [&] {
    while (loader->statistics().ready_batches < 1) std::this_thread::yield();
    return loader->statistics();
  };
  take(*loader, 1);
  const double first = loader->statistics().first_batch_seconds;
  take(*loader, 11);
  const LoaderStatistics once = settled();
  CHECK(once.first_batch_seconds == first);
  loader->set_step(0, {});
  take(*loader, 12);
  const LoaderStatistics twice = settled();
  CHECK(twice.first_batch_seconds == first);
  CHECK(twice.bytes_read > once.bytes_read);
  CHECK(twice.bytes_read <= 2 * once.bytes_read);
}

TEST_CASE("loader: at another step errors come where they came before", "[engine]") {
  Cases cases(4);
  cases.truncate(1);
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    LoaderOptions options = options_for(cases, threads, 4);
    const auto loader = loader_of(options);
    const auto outcomes = [&](int count) {
      std::vector<std::optional<Content>> found;
      for (int i = 0; i < count; ++i) {
        try {
          found.emplace_back(next_of(*loader));
        } catch (const SampleError&) {
          found.emplace_back();
        }
      }
      return found;
    };
    const auto expected = outcomes(12);
    REQUIRE(std::count(expected.begin(), expected.end(), std::nullopt) > 2);
    REQUIRE(std::count(expected.begin(), expected.end(), std::nullopt) < 12);
    for (const int taken : {1, 2, 3, 5}) {
      loader->set_step(0, {});
      outcomes(taken);
      while (loader->statistics().ready_batches < 1) std::this_thread::yield();
      loader->set_step(0, {});
      CHECK(outcomes(12) == expected);
    }
  }
}

}  // namespace
}  // namespace fastnnunet::engine
