#include "fastnnunet/engine/loader.h"

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>
#include <set>
#include <thread>

#include "engine/cases.h"
#include "fastnnunet/storage/open_volumes.h"
#include "transforms/foreign.h"

namespace fastnnunet {
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

TEST_CASE("loader: a truncated file is one exception that names case, file and sample", "[engine]") {
  for (const std::size_t bad : {std::size_t{2}, std::size_t{3}}) {  // .npy and .b2nd
    Cases cases(4);
    cases.truncate(bad);
    const auto loader = loader_of(options_for(cases));
    std::exception_ptr cause;
    SampleFailure failure;
    for (int i = 0; i < 50 && failure.case_name.empty(); ++i) {
      try {
        loader->next({});
      } catch (const SampleError& error) {
        failure = error.failure();
        cause = error.cause();
      }
    }
    CHECK(failure.case_name == "case_" + std::to_string(bad));
    CHECK(failure.file == utf8(cases.files()[bad].image));
    CHECK(failure.bad_case);
    CHECK(failure.id.seed == 17);
    CHECK_THROWS_AS(loader->sampled(failure.id.step, failure.id.slot), StorageError);
    REQUIRE(cause);
    CHECK_THROWS_AS(std::rethrow_exception(cause), StorageError);
  }
}

TEST_CASE("loader: the first sample that failed is reported, however many threads there are", "[engine]") {
  Cases cases(4);
  cases.truncate(1);
  std::set<std::pair<std::uint64_t, std::uint32_t>> samples;
  for (const int threads : {1, 2, 8}) {
    const auto loader = loader_of(options_for(cases, threads, threads));
    const SampleFailure failure = failure_of([&] {
      for (int i = 0; i < 50; ++i) loader->next({});
    });
    samples.insert({failure.id.step, failure.id.slot});
    // The batch after it is there.
    CHECK(loader->step() == failure.id.step + 1);
  }
  CHECK(samples.size() == 1);
}

TEST_CASE("loader: bad cases are skipped, the same way for any number of threads", "[engine]") {
  Cases cases(5);
  cases.truncate(1);
  cases.truncate(2);
  std::vector<Content> expected;
  for (const int threads : {1, 2, 8})
    for (const int prefetch : {1, 5}) {
      CAPTURE(threads, prefetch);
      LoaderOptions options = options_for(cases, threads, prefetch);
      options.skip_bad_cases = true;
      options.max_skipped = 0.4;
      const auto loader = loader_of(options);
      const auto found = take(*loader, 8);
      if (expected.empty()) expected = found;
      CHECK(found == expected);
      for (const Content& content : found)
        for (const std::size_t number : content.cases) CHECK((number != 1 && number != 2));
      const auto bad = loader->bad_cases();
      REQUIRE(bad.size() == 2);
      CHECK(bad[0].name == "case_1");
      CHECK(bad[0].file == utf8(cases.files()[1].image));
      CHECK_FALSE(bad[0].reason.empty());
    }
}

TEST_CASE("loader: a case that is bad in some windows only is left out from the step that saw it", "[engine]") {
  // The voxel is in some of the windows of case 0. Batches that were made ahead with a good window of it are made
  // again.
  Cases cases(2);
  for (const Index3& at : {Index3{15, 26, 20}, Index3{8, 10, 10}, Index3{22, 40, 30}, Index3{5, 40, 10}})
    cases.put(0, at, at[0] == 5 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN());
  int changed_late = 0, still_used = 0;
  for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6}) {
    std::vector<Content> expected;
    std::uint64_t since = 0;
    BadCase first;
    for (const int threads : {1, 2, 8})
      for (const int prefetch : {1, 6}) {
        CAPTURE(seed, threads, prefetch);
        LoaderOptions options = options_for(cases, threads, prefetch);
        options.seed = seed;
        options.skip_bad_cases = true;
        options.check_finite = true;
        const auto loader = loader_of(options);
        const auto found = take(*loader, 10);
        if (expected.empty()) {
          expected = found;
          REQUIRE(loader->bad_cases().size() == 1);
          first = loader->bad_cases()[0];
          since = first.step;
          CHECK(has(loader->bad_cases()[0].reason, "expected finite voxels"));
        }
        CHECK(found == expected);
        CHECK(loader->bad_cases()[0].step == since);
        CHECK(loader->bad_cases()[0].slot == first.slot);
        CHECK(loader->bad_cases()[0].attempt == first.attempt);
      }
    for (const Content& content : expected)
      for (const std::size_t number : content.cases) {
        if (content.step > since) CHECK(number == 1);
        changed_late += content.step < since && number == 0;
        still_used += content.step == since && number == 0;
      }
  }
  CHECK(changed_late > 0);  // case 0 was used before it was found bad
  CHECK(still_used > 0);    // and by other samples of that step: it is left out from the next one on
}

TEST_CASE("loader: a resumed run knows the cases that were left out", "[engine]") {
  Cases cases(3);
  cases.truncate(1);
  LoaderOptions options = options_for(cases);
  options.skip_bad_cases = true;
  const auto loader = loader_of(options);
  const auto expected = take(*loader, 6);
  const auto bad = loader->bad_cases();
  REQUIRE(bad.size() == 1);
  const auto again = loader_of(options);
  again->set_step(4, {bad[0], {"a case of another fold", "", "", 0}});
  REQUIRE(again->bad_cases().size() == 1);
  const BadCase known = again->bad_cases()[0];
  CHECK(known.name == "case_1");
  CHECK(known.reason == bad[0].reason);
  CHECK((known.step == bad[0].step && known.slot == bad[0].slot && known.attempt == bad[0].attempt));
  CHECK(known.stamp == stamp_of_case(cases.files()[1]));
  CHECK_FALSE(known.stamp.empty());
  cases.truncate(1);
  CHECK(known.stamp != stamp_of_case(cases.files()[1]));
  CHECK(next_of(*again) == expected[4]);
  CHECK(next_of(*again) == expected[5]);
}

TEST_CASE("loader: when every case is bad it stops", "[engine]") {
  Cases cases(4);
  LoaderOptions options = options_for(cases);
  options.skip_bad_cases = true;
  options.check_finite = true;
  SECTION("found while training") {
    for (const std::size_t number : {0, 2}) {
      const Index3 size = cases.shape(number);
      for (std::int64_t z = 0; z < size[2]; z += 8)
        for (const std::int64_t y : {size[1] / 3, 2 * size[1] / 3})
          cases.put(number, {size[0] / 2, y, z}, std::nanf(""));
    }
    options.cases = {cases.files()[0], cases.files()[2]};
    const auto loader = loader_of(options);
    const SampleFailure failure = failure_of([&] {
      for (int i = 0; i < 200; ++i) loader->next({});
    });
    CHECK(has(failure.reason, "every other case is bad as well"));
    CHECK(loader->bad_cases().size() == 2);
  }
  SECTION("found before") {
    for (std::size_t number = 0; number < 4; ++number) cases.truncate(number);
    CHECK(failure_of([&] { loader_of(options)->next({}); }).case_name == "case_0");
  }
}

TEST_CASE("loader: cases that disagree with themselves or with the others are bad", "[engine]") {
  Cases cases(4);
  const Index3 shape = cases.shape(0);
  LoaderOptions options = options_for(cases);
  const auto reason = [&] {
    const auto loader = loader_of(options);
    const SampleFailure failure = failure_of([&] {
      for (int i = 0; i < 50; ++i) loader->next({});
    });
    CHECK(failure.bad_case);
    CHECK(failure.case_name == "case_0");
    return failure.reason;
  };
  std::swap(options.cases[0], options.cases[1]);  // the first decides about the channels
  SECTION("shape of the segmentation") {
    cases.replace_labels<std::int16_t>(0, {1, shape[0], shape[1], shape[2] - 1});
    CHECK(has(reason(), "the image's shape"));
  }
  SECTION("channels of the segmentation") {
    cases.replace_labels<std::int8_t>(0, {2, shape[0], shape[1], shape[2]});
    CHECK(has(reason(), "1 channels as the other cases have, got 2"));
  }
  SECTION("class locations outside of the image") {
    const auto damaged = loader_of(options, TreeKind::full_3d, [](std::size_t number, const Index3& size) {
      ClassLocations locations = some_locations(number, size);
      const Index3 outside{size[0], 0, 0};
      if (number == 1) locations.add({3}, false, false, outside, 3);
      return locations;
    });
    const SampleFailure failure = failure_of([&] {
      for (int i = 0; i < 50; ++i) damaged->next({});
    });
    CHECK(failure.bad_case);
    CHECK(has(failure.reason, "voxels inside the image"));
  }
}

TEST_CASE("loader: a transform that fails is named, and no case is blamed", "[engine]") {
  const Cases cases(2);
  std::vector<Node> nodes;
  nodes.push_back(make_tree(TreeKind::full_3d));
  nodes.insert(nodes.begin(),
               Node::leaf(make_transform(
                   "MaskImageTransform",
                   record({{"apply_to_channels", Numbers{7}}, {"channel_idx_in_seg", 0.0}, {"set_outside_to", 0.0}}))));
  LoaderOptions options = options_for(cases);
  options.skip_bad_cases = true;
  Loader loader(options, std::make_shared<Pipeline>(Node::compose(std::move(nodes))), some_locations,
                std::make_shared<OrdinaryMemory>());
  const SampleFailure failure = failure_of([&] { loader.next({}); });
  CHECK(failure.transform == "MaskImageTransform");
  CHECK_FALSE(failure.bad_case);
  CHECK(failure.id == SampleId{.seed = 17, .step = 0, .slot = 0});
  CHECK(loader.bad_cases().empty());
}

TEST_CASE("loader: a budget that is too small says what it is too small for", "[engine]") {
  const Cases cases(2);
  LoaderOptions options = options_for(cases, 4);
  options.sampling.batch_size = 64;
  options.memory_budget = 2 << 20;
  const std::string message = message_of([&] { loader_of(options); });
  CHECK(has(message, "memory budget of 2 MiB"));
  CHECK(has(message, "4 threads"));
  CHECK(has(message, "2 batches of"));
  CHECK_THROWS_AS(loader_of(options), BudgetError);

  options.budget_binds = false;
  const auto loader = loader_of(options);
  const std::size_t taken = loader->statistics().memory_budget;
  CHECK(taken > (std::size_t{2} << 20));
  loader->next({});
  loader->next({});
  CHECK(loader->statistics().memory_budget == taken);
  options.budget_binds = true;
  options.memory_budget = taken - 1;
  CHECK_THROWS_AS(loader_of(options), BudgetError);
  options.memory_budget = taken;
  CHECK_NOTHROW(loader_of(options));
}

TEST_CASE("loader: the budget is kept", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 20);
  // A thread works with some 60 kilobytes here, a batch takes 85.
  options.memory_budget = 700000 + 2 * OpenVolumes::kMemory;
  const auto memory = std::make_shared<CountedMemory>(true);
  const auto loader = loader_of(options, TreeKind::full_3d, some_locations, memory);
  const LoaderStatistics before = loader->statistics();
  CHECK(before.prefetch >= 1);
  CHECK(before.prefetch_limit < 20);
  std::vector<Batch> kept;
  for (int i = 0; i < 3; ++i) kept.push_back(loader->next({}));
  take(*loader, 1);
  const LoaderStatistics after = loader->statistics();
  CHECK(after.open_file_bytes > 0);
  CHECK(memory->most_bytes() + after.workspace_bytes + after.location_bytes + after.open_file_bytes <=
        options.memory_budget);
}

TEST_CASE("loader: a consumer that keeps batches does not get the memory of class locations", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 2);
  options.sampling.oversample_foreground = 1.0;
  options.keep_blocks = false;
  options.memory_budget = 4000000 + 2 * OpenVolumes::kMemory;
  // Of four cases, which together take more than their share of what is left.
  const auto many = [](std::size_t number, const Index3& shape) {
    ClassLocations locations(shape);
    std::vector<std::int64_t> voxels;
    for (std::int64_t i = 0; i < 100000; ++i)
      for (const std::int64_t size : shape) voxels.push_back((i + static_cast<std::int64_t>(number)) % size);
    locations.add({1}, false, false, voxels, 3);
    return locations;
  };
  const auto memory = std::make_shared<CountedMemory>(true);
  const auto loader = loader_of(options, TreeKind::full_3d, many, memory);
  take(*loader, 10);
  std::vector<Batch> kept;
  CHECK_THROWS_AS(
      [&] {
        for (;;) kept.push_back(loader->next({}));
      }(),
      BudgetError);
  const LoaderStatistics after = loader->statistics();
  CHECK(after.location_bytes > 2 * after.batch_bytes);
  // Files may yet take all of their share.
  CHECK(memory->most_bytes() + after.workspace_bytes + after.location_bytes + 2 * OpenVolumes::kMemory <=
        options.memory_budget);
}

// Keeps what it was shown, as a user's transform may that mixes samples.
struct Kept {
  std::shared_ptr<void> lease;
  const float* image;
  std::vector<float> content;
};

TEST_CASE("loader: memory that a transform keeps is not written again, though its batch is gone", "[engine]") {
  const Cases cases(3);
  std::mutex mutex;
  std::vector<Kept> kept;
  std::vector<Node> nodes;
  nodes.push_back(make_tree(TreeKind::validation));
  nodes.push_back(Node::leaf(std::make_unique<Foreign>("Foreign", [&](Sample& sample) {
    const fastnnunet::Array<float> image = sample.image();
    const std::lock_guard lock(mutex);
    // The first few are of the sample that tells the layout.
    if (kept.size() < 6)
      kept.push_back({sample.lease(image.data), image.data, {image.data, image.data + image.size()}});
  })));
  LoaderOptions options = options_for(cases, 2, 2, TreeKind::validation);
  Loader loader(options, std::make_shared<Pipeline>(Node::compose(std::move(nodes))), some_locations,
                std::make_shared<OrdinaryMemory>());
  take(loader, 12);
  // Batches are made ahead meanwhile.
  const std::lock_guard lock(mutex);
  REQUIRE(kept.size() == 6);
  for (const Kept& sample : kept) {
    CHECK(sample.lease != nullptr);
    CHECK(std::equal(sample.content.begin(), sample.content.end(), sample.image));
  }
  CHECK(loader.statistics().batches_in_use >= 2);
}

TEST_CASE("loader: a consumer that keeps batches is told, not left waiting", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = options_for(cases, 2, 2);
  options.memory_budget = 1000000 + 2 * OpenVolumes::kMemory;
  const auto loader = loader_of(options);
  const auto expected = take(*loader_of(options), 20);
  std::vector<Batch> kept;
  std::string message;
  for (int i = 0; i < 20 && message.empty(); ++i) {
    try {
      kept.push_back(loader->next({}));
    } catch (const BudgetError& error) {
      message = error.what();
    }
  }
  CHECK(has(message, "still referred to by tensors"));
  REQUIRE(kept.size() >= 2);
  // What was kept is what was given, and with one let go it goes on where it was.
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(content_of(kept[i], *loader) == expected[i]);
  const std::size_t next = kept.size();
  kept.clear();
  CHECK(next_of(*loader) == expected[next]);
}

TEST_CASE("loader: a batch's memory is not written while anybody refers to it", "[engine]") {
  const Cases cases(3);
  const auto loader = loader_of(options_for(cases, 4, 4));
  const Batch held = loader->next({});
  const Content before = content_of(held, *loader);
  std::set<const float*> others;
  for (int i = 0; i < 15; ++i) others.insert(loader->next({}).memory->data);
  CHECK_FALSE(others.contains(held.memory->data));
  CHECK(others.size() < 15);  // memory is used again once it is free
  CHECK(content_of(held, *loader) == before);
}

TEST_CASE("loader: memory that a device may still read goes back to where it came from", "[engine]") {
  const Cases cases(3);
  const auto expected = take(*loader_of(options_for(cases)), 6);
  const auto memory = std::make_shared<CountedMemory>(false);
  {
    const auto loader = loader_of(options_for(cases, 2, 1), TreeKind::full_3d, some_locations, memory);
    CHECK(take(*loader, 6) == expected);
    CHECK(memory->allocations() >= 6 * 3);  // data and two targets for every batch
    CHECK(memory->living() <= 3 * 3);
  }
  CHECK(memory->living() == 0);
  CHECK(memory->errors() == 0);
}

// Memory that takes until somebody else has been heard, as pinned memory takes its time.
class SlowMemory final : public MemoryProvider {
 public:
  void* allocate(std::size_t bytes) override {
    if (asked) asked();
    return ordinary_.allocate(bytes);
  }
  void release(void* memory, std::size_t bytes) noexcept override { ordinary_.release(memory, bytes); }
  bool rewritable() const override { return false; }
  std::function<void()> asked;

 private:
  OrdinaryMemory ordinary_;
};

TEST_CASE("loader: while a batch's memory is asked for, threads end their samples and anybody may ask", "[engine]") {
  const Cases cases(3);
  const auto memory = std::make_shared<SlowMemory>();
  const auto loader = loader_of(options_for(cases, 2, 3), TreeKind::full_3d, some_locations, memory);
  const auto expected = take(*loader_of(options_for(cases, 2, 3)), 8);
  std::atomic<int> heard{0};
  memory->asked = [&] {
    std::thread other([&] {
      (void)loader->statistics();
      (void)loader->activity();
      ++heard;
    });
    other.join();
  };
  CHECK(take(*loader, 8) == expected);
  CHECK(heard > 0);
  // Two consumers at once share the batches, and closing finds one of them there.
  std::set<std::uint64_t> steps;
  std::mutex mutex;
  const auto consume = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const Batch batch = loader->next({});
      const std::lock_guard lock(mutex);
      steps.insert(batch.step);
    }
  };
  std::thread second(consume, 10);
  consume(10);
  second.join();
  CHECK(steps.size() == 20);
  CHECK(*steps.rbegin() == 27);
  std::atomic<bool> once{false}, closed{false};
  memory->asked = [&] {
    if (once.exchange(true)) return;
    std::thread other([&] { closed = loader->close(); });
    other.join();
  };
  CHECK_THROWS_AS(
      [&] {
        for (;;) loader->next({});
      }(),
      ClosedError);
  CHECK(closed);
}

TEST_CASE("loader: closing ends what is under way", "[engine]") {
  const Cases cases(3);
  for (int i = 0; i < 10; ++i) {
    const auto memory = std::make_shared<CountedMemory>(true);
    const auto loader = loader_of(options_for(cases, 4, 6), TreeKind::full_3d, some_locations, memory);
    Batch held;
    if (i > 0) held = loader->next({});
    for (int k = 1; k < i; ++k) held = loader->next({});
    const auto begin = std::chrono::steady_clock::now();
    CHECK(loader->close());
    CHECK(loader->close());
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
    CHECK(memory->living() == (held.memory ? 3 : 0));
    if (held.memory) CHECK(std::isfinite(held.memory->data[0]));
    CHECK_THROWS_AS(loader->next({}), ClosedError);
    CHECK_THROWS_AS(loader->set_step(0, {}), ClosedError);
    CHECK(loader->statistics().batches == static_cast<std::uint64_t>(i));
    held = {};
    CHECK(memory->living() == 0);
  }
}

// A reader of class locations that stands still until it is let go.
class Gate {
 public:
  LocationCache::Reader reader() {
    return [this](std::size_t number, const Index3& shape) {
      std::unique_lock lock(mutex_);
      reached_ = true;
      opened_.wait(lock, [&] { return open_; });
      return some_locations(number, shape);
    };
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  bool reached() {
    const std::lock_guard lock(mutex_);
    return reached_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
  bool reached_ = false;
};

TEST_CASE("loader: what poll throws ends the wait, and the loader goes on afterwards", "[engine]") {
  const Cases cases(3);
  const auto expected = take(*loader_of(options_for(cases)), 2);
  Gate gate;
  const auto loader = loader_of(options_for(cases), TreeKind::full_3d, gate.reader());
  struct Interrupt {};
  int polls = 0;
  CHECK_THROWS_AS(loader->next([&] {
    if (++polls == 2) throw Interrupt{};
  }),
                  Interrupt);
  CHECK(polls == 2);
  CHECK(loader->step() == 0);
  gate.open();
  CHECK(next_of(*loader) == expected[0]);
  CHECK(next_of(*loader) == expected[1]);
}

TEST_CASE("loader: a task that does not end does not hold up closing", "[engine]") {
  const Cases cases(3);
  Gate gate;
  const auto loader = loader_of(options_for(cases, 2, 2), TreeKind::full_3d, gate.reader());
  CHECK_THROWS_AS(loader->next([&] {
    if (gate.reached()) throw std::runtime_error("Ctrl-C");
  }),
                  std::runtime_error);
  CHECK_FALSE(loader->close(std::chrono::milliseconds(50)));
  CHECK_THROWS_AS(loader->next({}), ClosedError);
  gate.open();
  CHECK(loader->close());
}

TEST_CASE("loader: a wait in one thread ends when another closes", "[engine]") {
  const Cases cases(3);
  Gate gate;
  const auto loader = loader_of(options_for(cases, 2, 2), TreeKind::full_3d, gate.reader());
  std::atomic<bool> waiting{false};
  std::string message;
  std::thread consumer([&] { message = message_of([&] { loader->next([&] { waiting = true; }); }); });
  while (!waiting) std::this_thread::yield();
  loader->close(std::chrono::milliseconds(20));
  consumer.join();
  CHECK(has(message, "one that was closed"));
  gate.open();
}

TEST_CASE("loader: several at once share their threads and do not disturb each other", "[engine]") {
  const Cases cases(4);
  const auto expected = take(*loader_of(options_for(cases)), 5);
  LoaderOptions validation = options_for(cases);
  validation.role = 1;
  const auto expected_validation = take(*loader_of(validation), 5);
  const auto first = loader_of(options_for(cases));
  const auto second = loader_of(validation);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(next_of(*first) == expected[i]);
    CHECK(next_of(*second) == expected_validation[i]);
    // Statistics are for looking at while threads work.
    CHECK(second->statistics().batches == i + 1);
  }
  first->close();
  second->set_step(0, {});
  CHECK(next_of(*second) == expected_validation[0]);
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

TEST_CASE("loader: as many batches ahead as their consumer has to wait for", "[engine]") {
  const Cases cases(4);
  const auto loader = loader_of(options_for(cases, 2, 5));
  const auto wait_until_ready = [&] {
    while (loader->statistics().ready_batches < static_cast<std::size_t>(loader->statistics().prefetch))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  CHECK(loader->statistics().prefetch_limit == 5);
  CHECK(loader->statistics().prefetch == 2);  // a batch for two threads, and one that is ready
  loader->next({});                           // the first wait counts for nothing
  CHECK(loader->statistics().prefetch == 2);
  for (int i = 0; i < 6; ++i) {  // a slow consumer
    wait_until_ready();
    loader->next({});
    CHECK(loader->statistics().prefetch == 2);
  }
  // One that does nothing else. How soon a thread is idle meanwhile is up to the system.
  for (int i = 0; i < 20000 && loader->statistics().prefetch < 5; ++i) loader->next({});
  CHECK(loader->statistics().prefetch == 5);
  wait_until_ready();
  CHECK(loader->statistics().batches_in_use == 5);
}

TEST_CASE("loader: options that make no sense are refused", "[engine]") {
  const Cases cases(2);
  LoaderOptions options = options_for(cases, 0);
  CHECK_THROWS_AS(loader_of(options), InvalidArgument);
  options = options_for(cases);
  options.cases.clear();
  CHECK(has(message_of([&] { loader_of(options); }), "at least one case"));
}

}  // namespace
}  // namespace fastnnunet
