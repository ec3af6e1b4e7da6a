// Loaders that are closed, dropped or reset at any moment, with threads that stand still for random times wherever the
// engine calls out. Under ThreadSanitizer the delays bring about what a quiet machine does not.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "engine/cases.h"
#include "fastnnunet/base/durations.h"
#include "transforms/foreign.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kShutdowns = 200;
#else
constexpr int kShutdowns = 1000;
#endif

// FASTNNUNET_SHUTDOWNS sets another number.
int shutdowns() {
  const char* given = std::getenv("FASTNNUNET_SHUTDOWNS");
  return given != nullptr ? std::max(1, std::atoi(given)) : kShutdowns;
}

// Up to `most` microseconds, often none; a number of its own in every thread.
void delay(int most) {
  thread_local std::minstd_rand random(std::random_device{}());
  const int microseconds = static_cast<int>(random() % static_cast<unsigned>(2 * most)) - most;
  if (microseconds > 0) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  if (microseconds == 0) std::this_thread::yield();
}

class DelayedMemory final : public MemoryProvider {
 public:
  explicit DelayedMemory(bool rewritable) : counted_(rewritable) {}
  void* allocate(std::size_t bytes) override {
    delay(200);
    return counted_.allocate(bytes);
  }
  void release(void* memory, std::size_t bytes) noexcept override {
    delay(200);
    counted_.release(memory, bytes);
  }
  bool rewritable() const override { return counted_.rewritable(); }
  const CountedMemory& counted() const { return counted_; }

 private:
  CountedMemory counted_;
};

ClassLocations delayed_locations(std::size_t number, const Index3& shape) {
  delay(500);
  return some_locations(number, shape);
}

TEST_CASE("loader: closed at random moments", "[engine]") {
  Cases cases(4);
  cases.truncate(1);  // some samples fail, or are made again
  std::minstd_rand random(7);
  const int count = shutdowns();
  std::uint64_t batches = 0;
  for (int i = 0; i < count; ++i) {
    const int threads = 1 + static_cast<int>(random() % 4), prefetch = 1 + static_cast<int>(random() % 5);
    LoaderOptions options = options_for(cases, threads, prefetch);
    options.skip_bad_cases = random() % 2 == 0;
    const auto memory = std::make_shared<DelayedMemory>(random() % 2 == 0);
    auto loader = loader_of(options, TreeKind::full_3d, delayed_locations, memory);
    // Now and then somebody looks, and somebody else closes.
    std::atomic<bool> done{false};
    std::thread other;
    const auto role = random() % 4;
    if (role == 0) {
      other = std::thread([&] {
        while (!done) {
          const LoaderActivity activity = loader->activity();
          if (activity.in_use > 0) loader->statistics();
          delay(100);
        }
      });
    } else if (role == 1) {
      const int after = static_cast<int>(random() % 3000);
      other = std::thread([&, after] {
        std::this_thread::sleep_for(std::chrono::microseconds(after));
        loader->close();
      });
    }
    std::vector<Batch> kept;
    bool closed = false;
    const auto steps = random() % 5;
    for (unsigned step = 0; step < steps && !closed; ++step) {
      try {
        kept.push_back(loader->next([] { delay(50); }));
        if (random() % 4 == 0) loader->set_step(random() % 3, {});
      } catch (const SampleError&) {
      } catch (const ClosedError&) {
        closed = true;
      }
    }
    batches += kept.size();
    delay(2000);
    if (random() % 2 == 0) kept.clear();
    done = true;
    if (role == 1 || random() % 2 == 0) REQUIRE(loader->close());
    if (other.joinable()) other.join();
    loader.reset();
    kept.clear();
    REQUIRE(memory->counted().living() == 0);
    REQUIRE(memory->counted().errors() == 0);
  }
  CHECK(batches > static_cast<std::uint64_t>(count) / 2);
}

TEST_CASE("loader: says what its threads are doing", "[engine]") {
  const Cases cases(3);
  std::atomic<bool> open{false};
  const auto loader =
      loader_of(options_for(cases, 2, 1), TreeKind::full_3d, [&](std::size_t number, const Index3& shape) {
        while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return some_locations(number, shape);
      });
  CHECK(loader->activity().threads.empty());
  struct Enough {};
  const auto begin = std::chrono::steady_clock::now();
  // Until the others are done and the one is where it has to wait; a loaded machine takes its time.
  CHECK_THROWS_AS(loader->next([&] {
    const auto threads = loader->activity().threads;
    const bool there =
        threads.size() == 1 && threads[0].stage == "reading properties" && threads[0].stage_seconds > 0.1;
    if (there || std::chrono::steady_clock::now() - begin > std::chrono::seconds(20)) throw Enough{};
  }),
                  Enough);
  const LoaderActivity activity = loader->activity();
  open = true;
  CHECK(activity.step == 0);
  CHECK(activity.being_made == 1);
  CHECK(activity.ready == 0);
  REQUIRE_FALSE(activity.threads.empty());
  const ThreadActivity& thread = activity.threads[0];
  CHECK(thread.stage == "reading properties");
  CHECK(thread.slot == 2);  // the one with forced foreground
  CHECK(has(thread.case_name, "case_"));
  CHECK(thread.thread != 0);
  CHECK(thread.thread != platform::thread_id());
  CHECK(thread.stage_seconds > 0.05);
  CHECK(thread.sample_seconds >= thread.stage_seconds);
  next_of(*loader);
  loader->close();
  CHECK(loader->activity().threads.empty());
}

TEST_CASE("loader: a sample by itself is that of the batch", "[engine]") {
  const Cases cases(4);
  const auto loader = loader_of(options_for(cases));
  const Content batch = take(*loader, 3)[2];
  const Layout& layout = loader->layout();
  const auto size = static_cast<std::size_t>(layout.image_channels * voxels(layout.image_shape));
  for (const std::uint32_t slot : {0u, 2u}) {
    std::vector<float> image;
    std::size_t number = 0;
    loader->make(2, slot, 0, [&](sample::Sample& sample, std::size_t case_number) {
      image.assign(sample.image().data, sample.image().data + sample.image().size());
      number = case_number;
    });
    CHECK(number == batch.cases[slot]);
    const auto first = batch.image.begin() + static_cast<std::ptrdiff_t>(slot * size);
    CHECK(image == std::vector<float>(first, first + static_cast<std::ptrdiff_t>(size)));
  }
  CHECK(loader->step() == 3);
  loader->close();
  CHECK_THROWS_AS(loader->make(0, 0, 0, [](sample::Sample&, std::size_t) {}), ClosedError);
}

TEST_CASE("loader: says for how long its threads have been at a transform, and at the sample", "[engine]") {
  const Cases cases(2);
  Loader* made = nullptr;
  std::vector<ThreadActivity> at_second, at_end, of_other;
  double here = 0;
  std::vector<pipeline::Node> nodes;
  nodes.push_back(make_tree(TreeKind::validation));
  nodes.push_back(pipeline::Node::leaf(std::make_unique<Foreign>(
      "First", [](sample::Sample&) { std::this_thread::sleep_for(std::chrono::milliseconds(60)); })));
  nodes.push_back(pipeline::Node::leaf(std::make_unique<Foreign>("Second", [&](sample::Sample&) {
    if (made == nullptr) return;
    const Stopwatch watch;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    at_second = made->activity().threads;
    here = std::chrono::duration<double>(watch.read()).count();
  })));
  Loader loader(options_for(cases, 1, 1, TreeKind::validation),
                std::make_shared<pipeline::Pipeline>(pipeline::Node::compose(std::move(nodes))), some_locations,
                std::make_shared<OrdinaryMemory>());
  // Another one that shares the thread has nothing to do.
  const auto other = loader_of(options_for(cases, 1, 1));
  made = &loader;
  loader.make(0, 0, 0, [&](sample::Sample&, std::size_t) {
    at_end = loader.activity().threads;
    of_other = other->activity().threads;
  });
  REQUIRE(at_second.size() == 1);
  CHECK(at_second[0].stage == "Second");
  CHECK(at_second[0].stage_seconds >= 0.01);
  CHECK(at_second[0].stage_seconds <= here + 0.05);
  CHECK(at_second[0].sample_seconds >= at_second[0].stage_seconds + 0.06);
  CHECK(at_end.size() == 1);
  CHECK(of_other.empty());
  CHECK(loader.activity().threads.empty());
  CHECK(loader.activity().in_use == 0);
  made = nullptr;
  const Batch held = loader.next({});
  CHECK(loader.activity().in_use >= 1);
}

}  // namespace
}  // namespace fastnnunet::engine
