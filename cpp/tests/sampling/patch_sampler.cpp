#include "fastnnunet/sampling/patch_sampler.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "message.h"

namespace fastnnunet::sampling {
namespace {

using namespace testing;

SamplingOptions options_of(const Index3& patch, const Index3& final_patch) {
  SamplingOptions options;
  options.batch_size = 2;
  options.patch_size = patch;
  options.final_patch_size = final_patch;
  return options;
}

random::Stream stream_of(std::uint64_t step) { return random::Stream(SampleId{.seed = 11, .step = step}, 0); }

TEST_CASE("patch sampler: a random patch stays in the padded image and reaches its ends", "[sampling]") {
  // Padding of 4 (even) and 5 (odd: one voxel more on both sides, as in nnU-Net), and none.
  const PatchSampler sampler(options_of({12, 13, 8}, {8, 8, 8}), 1);
  const Index3 image{20, 20, 20};
  const Index3 lowest{-2, -3, 0}, highest{20 + 2 - 12, 20 + 3 - 13, 20 - 8};
  std::array<std::set<std::int64_t>, 3> seen;
  for (std::uint64_t step = 0; step < 2000; ++step) {
    random::Stream stream = stream_of(step);
    const Box box = sampler.place(stream, image, false, nullptr);
    REQUIRE(box.shape() == Index3{12, 13, 8});
    for (std::size_t axis = 0; axis < 3; ++axis) seen[axis].insert(box.lower[axis]);
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    CAPTURE(axis);
    CHECK(*seen[axis].begin() == lowest[axis]);
    CHECK(*seen[axis].rbegin() == highest[axis]);
    CHECK(std::ssize(seen[axis]) == highest[axis] - lowest[axis] + 1);
  }
}

// nnU-Net: lower bound -need // 2, upper bound size + need // 2 + need % 2 - patch; Python rounds both down.
TEST_CASE("patch sampler: patches smaller than what becomes of them are placed as nnU-Net places them", "[sampling]") {
  // need_to_pad is -3, -4 and -1.
  const PatchSampler sampler(options_of({8, 8, 8}, {11, 12, 9}), 1);
  const Index3 lowest{1, 2, 0}, highest{20 - 2 + 1 - 8, 20 - 2 - 8, 20 - 1 + 1 - 8};
  std::array<std::set<std::int64_t>, 3> seen;
  for (std::uint64_t step = 0; step < 1000; ++step) {
    random::Stream stream = stream_of(step);
    const Box box = sampler.place(stream, {20, 20, 20}, false, nullptr);
    for (std::size_t axis = 0; axis < 3; ++axis) seen[axis].insert(box.lower[axis]);
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    CAPTURE(axis);
    CHECK(*seen[axis].begin() == lowest[axis]);
    CHECK(*seen[axis].rbegin() == highest[axis]);
  }
}

TEST_CASE("patch sampler: a smaller image lies wholly in the patch", "[sampling]") {
  const PatchSampler sampler(options_of({16, 16, 16}, {16, 16, 16}), 1);
  for (std::uint64_t step = 0; step < 200; ++step) {
    random::Stream stream = stream_of(step);
    const Box box = sampler.place(stream, {5, 16, 9}, false, nullptr);
    CHECK(box.intersect(Box::of_shape({5, 16, 9})) == Box::of_shape({5, 16, 9}));
  }
}

TEST_CASE("patch sampler: sides are padded where the loader is told to", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  options.pad_sides = {6, 0, 0};
  const PatchSampler sampler(options, 1);
  std::int64_t lowest = 0, highest = 0;
  for (std::uint64_t step = 0; step < 500; ++step) {
    random::Stream stream = stream_of(step);
    const Box box = sampler.place(stream, {10, 10, 10}, false, nullptr);
    lowest = std::min(lowest, box.lower[0]);
    highest = std::max(highest, box.upper[0]);
    CHECK(box.lower[1] >= 0);
    CHECK(box.upper[1] <= 10);
  }
  CHECK(lowest == -3);
  CHECK(highest == 13);
}

TEST_CASE("patch sampler: a forced patch is centred on a voxel of a class that is there", "[sampling]") {
  const PatchSampler sampler(options_of({8, 8, 8}, {8, 8, 8}), 1);
  const Index3 image{40, 40, 40};
  ClassLocations locations(image);
  const std::vector<std::int64_t> one = {20, 21, 22}, two = {10, 30, 12}, everything = {1, 1, 1};
  locations.add({-1, 1, 2, 3}, true, true, everything, 3);
  locations.add({1}, false, false, one, 3);
  locations.add({2}, false, false, {}, 3);  // absent from this case
  locations.add({1, 3}, true, false, two, 3);
  std::set<Index3> centres;
  for (std::uint64_t step = 0; step < 200; ++step) {
    random::Stream stream = stream_of(step);
    const Box box = sampler.place(stream, image, true, &locations);
    centres.insert({box.lower[0] + 4, box.lower[1] + 4, box.lower[2] + 4});
  }
  // Never the key of all annotated voxels, as long as there is a class of its own.
  CHECK(centres == std::set<Index3>{{20, 21, 22}, {10, 30, 12}});
}

TEST_CASE("patch sampler: a forced patch near a border", "[sampling]") {
  const PatchSampler sampler(options_of({8, 8, 8}, {8, 8, 8}), 1);
  const Index3 image{20, 20, 20};
  ClassLocations locations(image);
  const std::vector<std::int64_t> corner = {0, 19, 10};
  locations.add({1}, false, false, corner, 3);
  random::Stream stream = stream_of(0);
  const Box box = sampler.place(stream, image, true, &locations);
  // nnU-Net holds the lower bound only.
  CHECK(box.lower == Index3{0, 15, 6});
}

TEST_CASE("patch sampler: a case without any class is sampled at random", "[sampling]") {
  const PatchSampler sampler(options_of({8, 8, 8}, {8, 8, 8}), 1);
  ClassLocations locations({40, 40, 40});
  locations.add({1}, false, false, {}, 3);
  std::set<Index3> seen;
  for (std::uint64_t step = 0; step < 50; ++step) {
    random::Stream stream = stream_of(step);
    seen.insert(sampler.place(stream, {40, 40, 40}, true, &locations).lower);
  }
  CHECK(seen.size() > 40);
}

TEST_CASE("patch sampler: with an ignore label, unforced patches show annotated voxels", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  options.has_ignore = true;
  const PatchSampler sampler(options, 1);
  const Index3 image{40, 40, 40};
  CHECK(sampler.needs_locations(false));
  ClassLocations locations(image);
  const std::vector<std::int64_t> annotated = {15, 16, 17}, one = {30, 30, 30};
  locations.add({1}, false, false, one, 3);
  locations.add({-1, 0, 1}, true, true, annotated, 3);
  for (std::uint64_t step = 0; step < 20; ++step) {
    random::Stream stream = stream_of(step);
    CHECK(sampler.place(stream, image, false, &locations).lower == Index3{11, 12, 13});
    // Forced ones show the class, which is there.
    CHECK(sampler.place(stream, image, true, &locations).lower == Index3{26, 26, 26});
  }
  ClassLocations without(image);
  without.add({1}, false, false, one, 3);
  random::Stream stream = stream_of(0);
  CHECK(has(message_of([&] { sampler.place(stream, image, false, &without); }), "ignore label"));
}

TEST_CASE("patch sampler: which samples of a batch are forced", "[sampling]") {
  const auto forced = [](std::int64_t batch, double oversample) {
    SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
    options.batch_size = batch;
    options.oversample_foreground = oversample;
    const PatchSampler sampler(options, 1);
    std::vector<bool> slots;
    for (std::int64_t slot = 0; slot < batch; ++slot) {
      random::Stream stream = stream_of(0);
      slots.push_back(sampler.choose_case(stream, slot).force_foreground);
    }
    return slots;
  };
  // nnU-Net: not (slot < round(batch * (1 - oversample))), with Python's round.
  CHECK(forced(2, 0.33) == std::vector<bool>{false, true});
  CHECK(forced(5, 0.33) == std::vector<bool>{false, false, false, true, true});
  CHECK(forced(3, 0.5) == std::vector<bool>{false, false, true});              // round(1.5) = 2
  CHECK(forced(5, 0.5) == std::vector<bool>{false, false, true, true, true});  // round(2.5) = 2
  CHECK(forced(2, 0.0) == std::vector<bool>{false, false});
  CHECK(forced(2, 1.0) == std::vector<bool>{true, true});
}

TEST_CASE("patch sampler: ranks that share a batch count its slots", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  options.batch_size = 2;
  options.global_batch_size = 6;
  options.oversample_foreground = 0.33;  // slots 4 and 5: round(6 * 0.67) = 4
  for (const std::int64_t first : {0, 2, 4}) {
    options.first_slot = first;
    const PatchSampler sampler(options, 1);
    for (std::int64_t slot = first; slot < first + 2; ++slot) {
      random::Stream stream = stream_of(0);
      CHECK(sampler.choose_case(stream, slot).force_foreground == (slot >= 4));
    }
  }
  options.first_slot = 5;
  CHECK(has(message_of([&] { PatchSampler(options, 1); }), "expected slots in a batch of 6, got 2 from 5 on"));
  options.first_slot = -1;
  CHECK(has(message_of([&] { PatchSampler(options, 1); }), "got 2 from -1 on"));
}

TEST_CASE("patch sampler: probabilistic oversampling forces each sample for itself", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  options.probabilistic_oversampling = true;
  options.oversample_foreground = 0.33;
  const PatchSampler sampler(options, 1);
  for (const std::int64_t slot : {0, 1}) {
    int count = 0;
    for (std::uint64_t step = 0; step < 3000; ++step) {
      random::Stream stream = stream_of(step);
      count += sampler.choose_case(stream, slot).force_foreground;
    }
    CHECK(count == Catch::Approx(990).margin(100));  // four standard deviations
  }
}

TEST_CASE("patch sampler: cases are drawn with their probabilities", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  options.sampling_probabilities = {0.5, 0.0, 0.25, 0.25};
  const PatchSampler sampler(options, 4);
  std::array<int, 4> counts{};
  for (std::uint64_t step = 0; step < 4000; ++step) {
    random::Stream stream = stream_of(step);
    ++counts[static_cast<std::size_t>(sampler.choose_case(stream, 0).case_number)];
  }
  CHECK(counts[0] == Catch::Approx(2000).margin(130));
  CHECK(counts[1] == 0);
  CHECK(counts[2] == Catch::Approx(1000).margin(110));
}

TEST_CASE("patch sampler: where nothing is annotated, a patch is drawn at random", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  options.has_ignore = true;
  const PatchSampler sampler(options, 1);
  const Index3 image{40, 40, 40};
  const std::vector<std::int64_t> one = {30, 30, 30};
  for (const bool class_after : {false, true}) {
    CAPTURE(class_after);
    ClassLocations locations(image);
    locations.add({-1, 0, 1}, true, true, {}, 3);
    if (class_after) locations.add({1}, false, false, one, 3);
    std::set<Index3> seen;
    for (std::uint64_t step = 0; step < 50; ++step) {
      random::Stream stream = stream_of(step);
      seen.insert(sampler.place(stream, image, false, &locations).lower);
    }
    CHECK(seen.size() > 40);
  }
}

TEST_CASE("patch sampler: every class, and every voxel of it, has its turn", "[sampling]") {
  // Uneven sizes, and axes that differ.
  const PatchSampler sampler(options_of({5, 8, 11}, {5, 8, 11}), 1);
  const Index3 image{40, 50, 60};
  ClassLocations locations(image);
  const std::vector<std::int64_t> first = {20, 20, 20, 21, 22, 23}, none = {},
                                  last = {10, 30, 30, 12, 32, 34, 14, 36, 38};
  locations.add({1}, false, false, first, 3);
  locations.add({2}, false, false, none, 3);
  locations.add({3}, false, false, last, 3);
  std::map<Index3, int> seen;
  for (std::uint64_t step = 0; step < 3000; ++step) {
    random::Stream stream = stream_of(step);
    ++seen[sampler.place(stream, image, true, &locations).lower];
  }
  REQUIRE(seen.size() == 5);
  const auto times = [&](const Index3& centre) { return seen[{centre[0] - 2, centre[1] - 4, centre[2] - 5}]; };
  // Half of the patches for each class that is there, within four standard deviations.
  for (const Index3& centre : {Index3{20, 20, 20}, Index3{21, 22, 23}}) CHECK(std::abs(times(centre) - 750) < 95);
  for (const Index3& centre : {Index3{10, 30, 30}, Index3{12, 32, 34}, Index3{14, 36, 38}})
    CHECK(std::abs(times(centre) - 500) < 85);
  random::Stream stream = stream_of(0);
  CHECK(has(message_of([&] { sampler.place(stream, image, true, nullptr); }), "class_locations where a class"));
}

TEST_CASE("patch sampler: every case has its turn", "[sampling]") {
  const PatchSampler sampler(options_of({8, 8, 8}, {8, 8, 8}), 5);
  std::array<int, 5> counts{};
  for (std::uint64_t step = 0; step < 5000; ++step) {
    random::Stream stream = stream_of(step);
    ++counts.at(static_cast<std::size_t>(sampler.choose_case(stream, 0).case_number));
  }
  for (const int count : counts) CHECK(std::abs(count - 1000) < 115);
}

TEST_CASE("patch sampler: an axis of its own padding beside others", "[sampling]") {
  SamplingOptions options = options_of({12, 10, 14}, {8, 9, 14});
  options.pad_sides = {2, 5, 4};
  const PatchSampler sampler(options, 1);
  // need_to_pad is 6, 6 and 4, and what the image lacks is 0, 9 and 1.
  const Index3 image{30, 1, 13};
  const Index3 lowest{-3, -5, -2}, highest{30 + 3 - 12, 1 + 5 - 10, 13 + 2 - 14};
  std::array<std::set<std::int64_t>, 3> seen;
  for (std::uint64_t step = 0; step < 1000; ++step) {
    random::Stream stream = stream_of(step);
    const Box box = sampler.place(stream, image, false, nullptr);
    for (std::size_t axis = 0; axis < 3; ++axis) seen[axis].insert(box.lower[axis]);
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    CAPTURE(axis);
    CHECK(*seen[axis].begin() == lowest[axis]);
    CHECK(*seen[axis].rbegin() == highest[axis]);
  }
}

TEST_CASE("patch sampler: options that contradict each other are named", "[sampling]") {
  SamplingOptions options = options_of({8, 8, 8}, {8, 8, 8});
  CHECK_THROWS_AS(PatchSampler(options, 0), InvalidArgument);
  options.sampling_probabilities = {0.5, 0.5};
  CHECK(has(message_of([&] { PatchSampler(options, 3); }), "3 cases"));
  options.sampling_probabilities = {0.5, 0.1};
  CHECK(has(message_of([&] { PatchSampler(options, 2); }), "sum of 1"));
  for (const double wrong : {-0.25, std::numeric_limits<double>::quiet_NaN()}) {
    options.sampling_probabilities = {1.25, wrong};
    CHECK(has(message_of([&] { PatchSampler(options, 2); }), "no negative number"));
  }
  for (const double more : {0.6, 0.50001}) {
    options.sampling_probabilities = {0.5, more};
    CHECK(has(message_of([&] { PatchSampler(options, 2); }), "sum of 1"));
  }
  for (const std::int64_t none : {0, -1}) {
    options = options_of({8, 8, 8}, {8, 8, 8});
    options.batch_size = none;
    CHECK(has(message_of([&] { PatchSampler(options, 1); }), "a batch size above 0, got " + std::to_string(none)));
  }
  options = options_of({8, 0, 8}, {8, 8, 8});
  CHECK(has(message_of([&] { PatchSampler(options, 1); }), "'patch_size' above 0 on every axis, got 0"));
  options = options_of({8, 8, 8}, {8, 8, -3});
  CHECK(has(message_of([&] { PatchSampler(options, 1); }), "'final_patch_size' above 0 on every axis, got -3"));
  options = options_of({8, 8, 8}, {8, 8, 8});
  options.batch_size = (1 << 16) + 1;
  CHECK(has(message_of([&] { PatchSampler(options, 1); }), "a batch size of at most 65536, got 65537"));
}

}  // namespace
}  // namespace fastnnunet::sampling
