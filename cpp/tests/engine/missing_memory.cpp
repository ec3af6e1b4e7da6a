// Memory that is missing for a moment costs an error, which can be caught, and no batch: what comes then is what would
// have come.
#include <new>
#include <thread>
#include <variant>

#include "allocations.h"
#include "catch.h"
#include "engine/cases.h"
#include "fastnnunet/engine/location_cache.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

// Fails at `count` requests in a row, after the first `good`.
class FailingMemory final : public MemoryProvider {
 public:
  FailingMemory(int good, int count) : good_(good), count_(count) {}
  void* allocate(std::size_t bytes) override {
    const int number = requests_++;
    if (number >= good_ && number < good_ + count_) throw std::bad_alloc();
    return memory_.allocate(bytes);
  }
  void release(void* memory, std::size_t bytes) noexcept override { memory_.release(memory, bytes); }
  bool rewritable() const override { return false; }  // so that every batch asks anew
  std::size_t living() const { return memory_.living(); }

 private:
  int good_, count_;
  std::atomic<int> requests_{0};
  CountedMemory memory_{false};
};

// A batch, or the error of its sample.
using Outcome = std::variant<Content, std::string>;

Outcome outcome_of(Loader& loader) {
  try {
    return next_of(loader);
  } catch (const SampleError& error) {
    return error.what();
  }
}

struct Seen {
  std::vector<Outcome> outcomes;
  int missing = 0;  // how often memory was
};

// What the next `count` steps give; where memory is missing the call is repeated.
Seen seen(Loader& loader, int count) {
  Seen seen;
  while (std::ssize(seen.outcomes) < count) {
    try {
      seen.outcomes.push_back(outcome_of(loader));
    } catch (const std::bad_alloc&) {
      REQUIRE(++seen.missing < 100);
    }
  }
  return seen;
}

constexpr int kSteps = 6;

// Some with samples that fail.
std::vector<std::pair<std::unique_ptr<Cases>, bool>> data_sets() {
  std::vector<std::pair<std::unique_ptr<Cases>, bool>> sets;
  for (const bool bad : {false, true}) {
    sets.emplace_back(std::make_unique<Cases>(4), bad);
    if (bad) sets.back().first->truncate(2);
  }
  return sets;
}

TEST_CASE("missing memory: of a batch, wherever it is missing, no batch and no error is lost", "[engine]") {
  for (const auto& [cases, bad] : data_sets()) {
    const auto expected = seen(*loader_of(options_for(*cases, 1, 1)), kSteps);
    int errors = 0;
    for (const Outcome& outcome : expected.outcomes) errors += std::holds_alternative<std::string>(outcome);
    CHECK((errors > 0) == bad);
    CHECK(errors < kSteps);
    int missing = 0;
    for (const int prefetch : {1, 3})
      for (const int in_a_row : {1, 4})
        for (int good = 0; good < 3 * (kSteps + prefetch); ++good) {
          CAPTURE(bad, prefetch, in_a_row, good);
          const auto memory = std::make_shared<FailingMemory>(good, in_a_row);
          auto loader = loader_of(options_for(*cases, 2, prefetch), TreeKind::full_3d, some_locations, memory);
          const Seen found = seen(*loader, kSteps);
          CHECK(found.outcomes == expected.outcomes);
          missing += found.missing;
          CHECK(loader->step() == kSteps);
          loader.reset();
          CHECK(memory->living() == 0);
        }
    CHECK(missing > 0);
  }
}

TEST_CASE("missing memory: of anything else that a call needs, no batch and no error is lost", "[engine]") {
  if (!CountedAllocations::possible()) return;
  for (const auto& [cases, bad] : data_sets()) {
    const LoaderOptions options = options_for(*cases, 1, 2);
    const auto expected = seen(*loader_of(options), kSteps);
    int missing = 0;
    for (int step = 0; step < 3; ++step)
      for (int after = 0, failed = 1; failed > 0; ++after) {
        CAPTURE(bad, step, after);
        const auto loader = loader_of(options);
        Seen found = seen(*loader, step);
        failed = 0;
        // The call alone, without what the test does with the batch.
        Batch batch;
        std::string error;
        try {
          const FailingAllocation failing(after);
          try {
            batch = loader->next({});
          } catch (const std::bad_alloc&) {
            failed = failing.failed();
          } catch (const SampleError& caught) {
            failed = failing.failed();
            error = "caught";
          }
        } catch (...) {
          FAIL("another error");
        }
        if (batch.memory) found.outcomes.push_back(content_of(batch, *loader));
        if (!error.empty()) found.outcomes.push_back(expected.outcomes[static_cast<std::size_t>(step)]);
        missing += failed;
        const Seen rest = seen(*loader, kSteps - static_cast<int>(found.outcomes.size()));
        found.outcomes.insert(found.outcomes.end(), rest.outcomes.begin(), rest.outcomes.end());
        CHECK(found.outcomes == expected.outcomes);
        if (after > 200) FAIL("allocates without end");
      }
    CHECK(missing > 0);
  }
}

TEST_CASE("missing memory: of class locations, the next who asks reads them", "[engine]") {
  if (!CountedAllocations::possible()) return;
  const Index3 shape{20, 20, 20};
  int failed = 1;
  for (int after = 0; failed > 0; ++after) {
    CAPTURE(after);
    LocationCache cache([](std::size_t number, const Index3& of) { return some_locations(number, of); }, 1 << 20);
    cache.get(0, shape);
    {
      const FailingAllocation failing(after);
      try {
        cache.get(1, shape);
      } catch (const std::bad_alloc&) {
      }
      failed = failing.failed();
    }
    // A thread of its own, for where the first left the case half read this would wait for ever.
    std::atomic<bool> read{false};
    std::thread other([&] {
      cache.get(1, shape);
      read = true;
    });
    for (int i = 0; i < 1000 && !read; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (!read) {
      other.detach();
      FAIL("waits for a case that nobody reads");
    }
    other.join();
  }
}

}  // namespace
}  // namespace fastnnunet::engine
