#include "fastnnunet/engine/patience.h"

#include <atomic>
#include <limits>
#include <thread>

#include "engine/cases.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("patience: what may pass is tried again until the time is over", "[engine]") {
  Attempts attempts;
  const StorageError away("file", "no answer", Passing::yes);
  CHECK_FALSE(attempts.pause_after(StorageError("file", "damaged"), seconds(60)));
  CHECK_FALSE(attempts.pause_after(StorageError("file", "none", Passing::if_it_was_there), seconds(60)));
  CHECK_FALSE(attempts.pause_after(away, seconds(0)));
  Attempts other;
  const auto first = other.pause_after(away, seconds(60)), second = other.pause_after(away, seconds(60));
  REQUIRE((first && second));
  CHECK(*second > *first);
  for (int i = 0; i < 20; ++i) CHECK(*other.pause_after(away, seconds(60)) <= seconds(2));
  std::this_thread::sleep_for(milliseconds(30));
  CHECK_FALSE(other.pause_after(away, milliseconds(20)));
}

TEST_CASE("patience: a file with other content is waited for as long as somebody writes it", "[engine]") {
  const TemporaryFolder folder;
  const StorageError changed(platform::utf8(folder / "file"), "other content", Passing::if_it_changes);
  Attempts attempts;
  write_file(folder / "file", "1");
  CHECK(attempts.pause_after(changed, seconds(60)));
  write_file(folder / "file", "12");
  CHECK(attempts.pause_after(changed, seconds(60)));
  CHECK_FALSE(attempts.pause_after(changed, seconds(60)));
}

// Files of a case out of sight, and back.
class Hidden {
 public:
  explicit Hidden(const CaseFiles& files) : files_{files.image, files.segmentation} {
    for (const auto& file : files_) std::filesystem::rename(file, name(file));
  }
  void show() {
    for (const auto& file : files_) std::filesystem::rename(name(file), file);
  }

 private:
  static std::filesystem::path name(std::filesystem::path file) { return file += ".away"; }
  std::vector<std::filesystem::path> files_;
};

LoaderOptions without_cache(const Cases& cases, double patience) {
  LoaderOptions options = options_for(cases);
  options.keep_blocks = false;
  options.patience = std::chrono::duration<double>(patience);
  return options;
}

bool waits(const Loader& loader) {
  for (const ThreadActivity& thread : loader.activity().threads)
    if (thread.stage.find("waiting for the file server: ") == 0 && thread.stage.find("case_1") != std::string::npos)
      return true;
  return false;
}

void wait_until(const auto& condition) {
  for (int i = 0; i < 400 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(25));
  REQUIRE(condition());
}

TEST_CASE("patience: a file that is away for a moment changes no batch", "[engine]") {
  const Cases cases(3);
  const auto expected = take(*loader_of(without_cache(cases, 60)), 20);
  const auto loader = loader_of(without_cache(cases, 60));
  auto found = take(*loader, 8);
  Hidden hidden(cases.files()[1]);
  std::thread later([&] {
    wait_until([&] { return waits(*loader); });
    hidden.show();
  });
  for (const Content& content : take(*loader, 12)) found.push_back(content);
  later.join();
  CHECK(found == expected);
}

TEST_CASE("patience: a file that stays away is an error when it is over, and says for how long", "[engine]") {
  const Cases cases(3);
  const auto loader = loader_of(without_cache(cases, 0.3));
  take(*loader, 8);
  const Hidden hidden(cases.files()[1]);
  const SampleFailure failure = failure_of([&] {
    for (int i = 0; i < 100; ++i) loader->next({});
  });
  CHECK(failure.case_name == "case_1");
  // By the thread that has it open, or by one that has not.
  CHECK((has(failure.reason, "file is gone since it was opened") || has(failure.reason, "cannot be opened")));
  CHECK(has(failure.reason, "(tried again for 0.3 s)"));
}

TEST_CASE("patience: a file that never was there is an error at once", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = without_cache(cases, 60);
  options.cases[1].segmentation += ".none.b2nd";
  const auto begin = std::chrono::steady_clock::now();
  const auto loader = loader_of(options);
  const SampleFailure failure = failure_of([&] {
    for (int i = 0; i < 100; ++i) loader->next({});
  });
  CHECK(failure.case_name == "case_1");
  CHECK(std::chrono::steady_clock::now() - begin < seconds(20));
}

TEST_CASE("patience: closing the loader, or another step, ends the waiting", "[engine]") {
  const Cases cases(3);
  const auto loader = loader_of(without_cache(cases, std::numeric_limits<double>::infinity()));
  const auto expected = take(*loader, 8);
  Hidden hidden(cases.files()[1]);
  struct Enough {};
  const auto enough = [&] {
    if (waits(*loader)) throw Enough();
  };
  const auto until_it_waits = [&] {
    for (;;) loader->next(enough);
  };
  CHECK_THROWS_AS(until_it_waits(), Enough);
  const auto begin = std::chrono::steady_clock::now();
  SECTION("another step") {
    loader->set_step(4, {});
    hidden.show();
    CHECK(take(*loader, 4) == std::vector<Content>(expected.begin() + 4, expected.end()));
  }
  SECTION("closed") { CHECK(loader->close(seconds(5))); }
  SECTION("one sample, by its caller") {
    hidden.show();
    loader->set_step(0, {});
    const Hidden again(cases.files()[1]);
    const auto make_all = [&] {
      for (std::uint64_t step = 0;; ++step) loader->make(step, 0, 0, [](sample::Sample&, std::size_t) {}, enough);
    };
    CHECK_THROWS_AS(make_all(), Enough);
    CHECK(loader->bad_cases().empty());
  }
  CHECK(std::chrono::steady_clock::now() - begin < seconds(5));
}

TEST_CASE("patience: what is in memory needs no file", "[engine]") {
  Cases cases(4);
  LoaderOptions options = options_for(cases);
  options.cases = {cases.files()[1], cases.files()[3]};  // .b2nd, which are kept
  options.patience = seconds(0);
  const auto loader = loader_of(options);
  auto expected = take(*loader, 60);
  CHECK(loader->statistics().cache_bytes > 0);
  loader->set_step(0, {});
  const Hidden one(options.cases[0]), other(options.cases[1]);
  CHECK(take(*loader, 60) == expected);
}

TEST_CASE("loader: more bad cases than may be skipped are an error that lists them, whatever is made ahead",
          "[engine]") {
  Cases cases(6);
  LoaderOptions options = options_for(cases);
  options.skip_bad_cases = true;
  for (const std::size_t number : {1, 2, 5}) cases.truncate(number);
  std::vector<Content> expected;
  std::string said;
  for (const int threads : {1, 2, 8})
    for (const int prefetch : {1, 5}) {
      CAPTURE(threads, prefetch);
      options.threads = threads;
      options.prefetch = prefetch;
      const auto loader = loader_of(options);
      std::vector<Content> found;
      const SampleFailure failure = failure_of([&] {
        for (int i = 0; i < 60; ++i) found.push_back(next_of(*loader));
      });
      if (said.empty()) {
        expected = found;
        said = failure.reason;
      }
      CHECK(found == expected);
      CHECK(failure.reason == said);
      CHECK_FALSE(failure.bad_case);
      CHECK(has(failure.reason, "expected at most 1 of 6 cases to be skipped (max_skipped=0.05, at least one), got "));
      CHECK(has(failure.reason, "\n  case_2: ["));
    }
  options.max_skipped = 0.5;
  CHECK(take(*loader_of(options), 20).size() == 20);
}

TEST_CASE("patience: no pause is longer than what is left of it", "[engine]") {
  const TemporaryFolder folder;
  const StorageError away("file", "no answer", Passing::yes);
  const StorageError changed(platform::utf8(folder / "file"), "other content", Passing::if_it_changes);
  for (const StorageError& error : {away, changed}) {
    CAPTURE(error.what());
    Attempts attempts;
    CHECK(*attempts.pause_after(error, milliseconds(20)) <= milliseconds(20));
    // A file that somebody writes is looked at again soon, whatever the patience.
    CHECK(*Attempts().pause_after(error, std::chrono::hours(1)) <= seconds(1));
  }
}

TEST_CASE("patience: a file that the loader has seen may come back, before any sample was made of it", "[engine]") {
  const Cases cases(3);
  for (const double patience : {0.0, 0.2}) {
    CAPTURE(patience);
    LoaderOptions options = without_cache(cases, patience);
    options.skip_bad_cases = true;
    const auto loader = loader_of(options);
    Hidden hidden(cases.files()[1]);
    take(*loader, 8);
    const std::vector<BadCase> bad = loader->bad_cases();
    REQUIRE(bad.size() == 1);
    CHECK(bad[0].name == "case_1");
    CHECK(has(bad[0].reason, "tried again") == (patience > 0));
    // What was only away is read when the training goes on.
    CHECK(bad[0].stamp.empty());
    hidden.show();
  }
}

TEST_CASE("patience: class locations that were read once may come back", "[engine]") {
  const Cases cases(3);
  LoaderOptions options = without_cache(cases, 0.2);
  options.memory_budget = 0;  // so that they are read again and again
  options.budget_binds = false;
  options.sampling.oversample_foreground = 1.0;
  std::atomic<bool> away{false};
  const auto loader = loader_of(options, TreeKind::full_3d, [&](std::size_t number, const Index3& shape) {
    if (away) throw StorageError("properties", "no such file", Passing::if_it_was_there);
    return some_locations(number, shape);
  });
  take(*loader, 8);
  away = true;
  const SampleFailure failure = failure_of([&] {
    for (int i = 0; i < 100; ++i) loader->next({});
  });
  CHECK(failure.file == "properties");
  CHECK(has(failure.reason, "(tried again for 0.2 s)"));
}

}  // namespace
}  // namespace fastnnunet::engine
