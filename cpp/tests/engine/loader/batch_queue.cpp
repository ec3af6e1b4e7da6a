#include "fastnnunet/engine/loader/batch_queue.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/cases.h"
#include "fastnnunet/engine/loader/loader.h"
#include "fastnnunet/storage/cache/open_volumes.h"
#include "transforms/foreign.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

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
  std::vector<pipeline::Node> nodes;
  nodes.push_back(make_tree(TreeKind::validation));
  nodes.push_back(pipeline::Node::leaf(std::make_unique<Foreign>("Foreign", [&](sample::Sample& sample) {
    const sample::Array<float> image = sample.image();
    const std::lock_guard lock(mutex);
    // The first few are of the sample that tells the layout.
    if (kept.size() < 6)
      kept.push_back({sample.lease(image.data), image.data, {image.data, image.data + image.size()}});
  })));
  LoaderOptions options = options_for(cases, 2, 2, TreeKind::validation);
  Loader loader(options, std::make_shared<pipeline::Pipeline>(pipeline::Node::compose(std::move(nodes))),
                some_locations, std::make_shared<OrdinaryMemory>());
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

TEST_CASE("loader: threads are added while its consumer waits, and the batches are the same", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = options_for(cases, 1, 3);
  options.sampling.batch_size =
      40;  // so that a batch takes long beside handing it over, whatever else runs on the machine
  const auto fixed = loader_of(options);
  options.most_threads = 2;
  const auto grown = loader_of(options);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  // Nothing is done with a batch.
  while (grown->statistics().threads < 2 && std::chrono::steady_clock::now() < end) (void)grown->next({});
  CHECK(grown->statistics().threads == 2);
  fixed->set_step(grown->step(), {}, {});
  CHECK(take(*grown, 12) == take(*fixed, 12));
  CHECK(fixed->statistics().threads == 1);
}

TEST_CASE("loader: a consumer that keeps batches is told, not left waiting", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = options_for(cases, 2, 2);
  options.memory_budget = 1000000 + 2 * storage::OpenVolumes::kMemory;
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
  LocationReader reader() {
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

TEST_CASE("loader: where another step is not waited for, it goes on where it was", "[engine]") {
  const Cases cases(3);
  const auto expected = take(*loader_of(options_for(cases)), 4);
  Gate gate;
  const auto loader = loader_of(options_for(cases, 1, 3), TreeKind::full_3d, gate.reader());
  struct Interrupt {};
  CHECK_THROWS_AS(loader->next([&] {
    if (gate.reached()) throw Interrupt{};
  }),
                  Interrupt);
  CHECK_THROWS_AS(loader->set_step(7, {}, [] { throw Interrupt{}; }), Interrupt);
  CHECK(loader->step() == 0);
  gate.open();
  CHECK(take(*loader, 4) == expected);
  // What was not wanted any more when its turn came was not made.
  loader->close();
  const LoaderStatistics after = loader->statistics();
  CHECK(after.sample.count == after.samples);
}

}  // namespace
}  // namespace fastnnunet::engine
