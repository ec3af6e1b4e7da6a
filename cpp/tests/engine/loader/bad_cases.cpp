#include "fastnnunet/engine/loader/bad_cases.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/cases.h"
#include "fastnnunet/engine/loader/loader.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

TEST_CASE("bad cases: who found a case first counts, in whatever order threads tell of it", "[engine]") {
  LoaderOptions options;
  for (const char* name : {"a", "b", "c"}) options.cases.push_back({name, name, name, {}});
  const auto found = [&](std::size_t number, std::uint64_t step, std::uint32_t slot) {
    return SampleFailure{options.sample_id(step, slot), options.cases[number].name, "file", "", "is bad", true};
  };
  using Told = std::tuple<std::size_t, std::uint64_t, std::uint32_t>;
  std::vector<Told> told{{0, 7, 1}, {0, 7, 0}, {0, 9, 0}, {2, 3, 1}};
  std::sort(told.begin(), told.end());
  do {
    BadCases bad(options);
    CHECK(bad.empty());
    for (const auto& [number, step, slot] : told) bad.exclude(number, found(number, step, slot), "stamp");
    const std::vector<BadCase> list = bad.list();
    REQUIRE(list.size() == 2);
    CHECK(list[0].name == "a");
    CHECK(list[0].step == 7);
    CHECK(list[0].slot == 0);
    CHECK(list[1].step == 3);
    CHECK(!bad.is_excluded(0, 7));
    CHECK(bad.is_excluded(0, 8));
    CHECK(!bad.is_excluded(1, 100));
    CHECK_NOTHROW(bad.require_good_case_left(options.sample_id(8, 0), {}));
    CHECK_THROWS_AS(bad.require_good_case_left(options.sample_id(8, 0), {1}), SampleError);
    CHECK_NOTHROW(bad.require_few_skipped({0}));
    CHECK_THROWS_AS(bad.require_few_skipped({0, 2}), SampleError);
  } while (std::next_permutation(told.begin(), told.end()));
}

TEST_CASE("bad cases: one more than may be skipped is an error from the step on that found it", "[engine]") {
  LoaderOptions options;
  options.skip_bad_cases = true;
  for (const char* name : {"a", "b", "c"}) options.cases.push_back({name, name, name, {}});
  BadCases bad(options);
  for (const auto& [number, step] : {std::pair<std::size_t, std::uint64_t>{0, 7}, {2, 3}})
    bad.exclude(number, {options.sample_id(step, 0), options.cases[number].name, "file", "", "is bad", true}, "stamp");
  for (const std::uint64_t step : {0, 3, 6}) CHECK(bad.too_many_skipped(step) == nullptr);
  for (const std::uint64_t step : {7, 8, 100}) CHECK(bad.too_many_skipped(step) != nullptr);
  options.skip_bad_cases = false;
  CHECK(bad.too_many_skipped(7) == nullptr);
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
    CHECK(failure.file == platform::utf8(cases.files()[bad].image));
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
      CHECK(bad[0].file == platform::utf8(cases.files()[1].image));
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
  std::vector<pipeline::Node> nodes;
  nodes.push_back(make_tree(TreeKind::full_3d));
  nodes.insert(nodes.begin(),
               pipeline::Node::leaf(transforms::make_transform(
                   "MaskImageTransform",
                   record({{"apply_to_channels", Numbers{7}}, {"channel_idx_in_seg", 0.0}, {"set_outside_to", 0.0}}))));
  LoaderOptions options = options_for(cases);
  options.skip_bad_cases = true;
  Loader loader(options, std::make_shared<pipeline::Pipeline>(pipeline::Node::compose(std::move(nodes))),
                some_locations, std::make_shared<OrdinaryMemory>());
  const SampleFailure failure = failure_of([&] { loader.next({}); });
  CHECK(failure.transform == "MaskImageTransform");
  CHECK_FALSE(failure.bad_case);
  CHECK(failure.id == SampleId{.seed = 17, .step = 0, .slot = 0});
  CHECK(loader.bad_cases().empty());
}

// Of which the given ones were found bad, each one step after the one before.
struct Found {
  Found(int count, const std::vector<std::size_t>& numbers) {
    options.skip_bad_cases = true;
    for (int i = 0; i < count; ++i) options.cases.push_back({"case_" + std::to_string(i), "", "", {}});
    std::uint64_t step = 10;
    for (const std::size_t number : numbers)
      bad.exclude(number, {options.sample_id(step++, 1), options.cases[number].name, "file", "", "is bad", true}, "");
  }
  LoaderOptions options;
  BadCases bad{options};
};

TEST_CASE("bad cases: a share of the cases is that many of them", "[engine]") {
  using Row = std::tuple<double, int, std::size_t>;  // share, cases, how many may be skipped
  for (const auto& [share, count, most] : {Row{0.29, 100, 29},
                                           {0.07, 100, 7},
                                           {0.57, 100, 57},
                                           {0.05, 39, 1},
                                           {0.05, 40, 2},
                                           {0.0, 5, 1},
                                           {0.999, 100, 99}}) {
    CAPTURE(share, count);
    std::vector<std::size_t> numbers;
    for (std::size_t i = 0; i < most; ++i) numbers.push_back(i);
    Found found(count, numbers);
    found.options.max_skipped = share;
    CHECK(found.bad.too_many_skipped(1000) == nullptr);
    CHECK_NOTHROW(found.bad.require_few_skipped(numbers));
    if (most + 1 == static_cast<std::size_t>(count)) continue;
    Found more(count, numbers);
    more.options.max_skipped = share;
    more.bad.exclude(most, {more.options.sample_id(9, 0), "one more", "file", "", "is bad", true}, "");
    CHECK(more.bad.too_many_skipped(1000) != nullptr);
  }
}

TEST_CASE("bad cases: too many are told with the sample that met the last of them", "[engine]") {
  const Found found(6, {4, 1, 3});
  const SampleFailure failure = failure_of([&] { std::rethrow_exception(found.bad.too_many_skipped(20)); });
  CHECK(failure.case_name == "case_3");
  CHECK((failure.id.step == 12 && failure.id.slot == 1));
  for (const char* name : {"case_4", "case_1", "case_3"}) CHECK(has(failure.reason, name));
  // Its slot is that of the whole batch already.
  Found shared(6, {4, 1, 3});
  shared.options.sampling.first_slot = 1;
  shared.options.sampling.global_batch_size = 8;
  CHECK(failure_of([&] { std::rethrow_exception(shared.bad.too_many_skipped(20)); }).id == failure.id);
}

TEST_CASE("bad cases: where all that may be drawn are bad, that is the error", "[engine]") {
  Found all(3, {0, 1, 2});
  CHECK(all.bad.too_many_skipped(20) == nullptr);
  CHECK_NOTHROW(all.bad.require_few_skipped({0, 1, 2}));
  const SampleId id = all.options.sample_id(20, 0);
  CHECK_THROWS_AS(all.bad.require_good_case_left(id, {}), SampleError);
  Found rest(3, {0, 1});
  CHECK_NOTHROW(rest.bad.require_good_case_left(id, {}));
  rest.options.sampling.sampling_probabilities = {0.5, 0.5, 0.0};
  CHECK_THROWS_AS(rest.bad.require_good_case_left(id, {}), SampleError);
  rest.options.sampling.sampling_probabilities = {0.5, 0.0, 0.5};
  CHECK_NOTHROW(rest.bad.require_good_case_left(id, {}));
}

TEST_CASE("loader: the channels of the image are those that most cases have, or the first of as many", "[engine]") {
  Cases cases(4);
  const auto replace = [&](std::size_t number, std::int64_t channels) {
    const Index3& shape = cases.shape(number);
    write_file(cases.files()[number].image, npy_bytes(ramp<float>({channels, shape[0], shape[1], shape[2]}), "<f4"));
  };
  LoaderOptions options = options_for(cases);
  const auto reason = [&] {
    const auto loader = loader_of(options);
    CHECK(loader->layout().image_channels == 2);
    const SampleFailure failure = failure_of([&] {
      for (int i = 0; i < 50; ++i) loader->next({});
    });
    CHECK(failure.bad_case);
    CHECK(failure.case_name == "case_2");
    return failure.reason;
  };
  for (const std::int64_t channels : {1, 3}) {
    replace(2, channels);
    options.cases = {cases.files()[2], cases.files()[1], cases.files()[0]};
    CHECK(has(reason(), "expected 2 channels as the other cases have, got " + std::to_string(channels)));
    options.cases = {cases.files()[1], cases.files()[2]};
    CHECK(has(reason(), "expected 2 channels as the other cases have, got " + std::to_string(channels)));
  }
  // The first case decides nothing where it cannot be read, and is an error unless it may be skipped.
  cases.truncate(2);
  CHECK(failure_of([&] {
          options.cases = {cases.files()[2], cases.files()[1]};
          loader_of(options);
        }).case_name == "case_2");
}

}  // namespace
}  // namespace fastnnunet::engine
