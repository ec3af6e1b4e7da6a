#include "fastnnunet/random/stream.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "catch.h"
#include "message.h"

namespace fastnnunet::random {

TEST_CASE("A stream depends on every part of its name and on nothing else", "[random]") {
  const SampleId base{.seed = 7, .rank = 0, .role = 0, .step = 5, .slot = 1, .attempt = 0};
  const auto first = [](SampleId id, std::uint32_t purpose) { return Stream(id, purpose).next_uint64(); };
  CHECK(first(base, 3) == first(base, 3));
  std::set<std::uint64_t> seen{first(base, 3), first(base, 4)};
  for (int part = 0; part < 6; ++part) {
    SampleId other = base;
    if (part == 0) other.seed = 8;
    if (part == 1) other.rank = 1;
    if (part == 2) other.role = 1;
    if (part == 3) other.step = 5 + (1ull << 32);
    if (part == 4) other.slot = 2;
    if (part == 5) other.attempt = 1;
    seen.insert(first(other, 3));
  }
  CHECK(seen.size() == 8);
}

TEST_CASE("Streams whose names differ in a single bit have other numbers", "[random]") {
  std::set<std::uint64_t> seen;
  std::size_t streams = 0;
  const auto add = [&](const SampleId& id, std::uint32_t purpose) {
    seen.insert(Stream(id, purpose).next_uint64());
    ++streams;
  };
  add({}, 0);
  for (int bit = 0; bit < 64; ++bit) add({.seed = std::uint64_t{1} << bit}, 0);
  for (int bit = 0; bit < 32; ++bit) {
    add({.rank = std::uint32_t{1} << bit}, 0);
    add({.role = std::uint32_t{1} << bit}, 0);
  }
  for (int bit = 0; bit < 48; ++bit) add({.step = std::uint64_t{1} << bit}, 0);
  for (int bit = 0; bit < 16; ++bit) add({.slot = std::uint32_t{1} << bit}, 0);
  for (int bit = 0; bit < 12; ++bit) add({.attempt = std::uint32_t{1} << bit}, 0);
  for (int bit = 0; bit < 20; ++bit) add({}, std::uint32_t{1} << bit);
  CHECK(seen.size() == streams);
}

TEST_CASE("Integers below a bound that is no power of 2, and beyond 32 bits, are uniform", "[random]") {
  Stream stream(SampleId{.seed = 5}, 0);
  constexpr int kDraws = 30000;
  // Of 2^32 numbers, every third integer below 3 * 2^30 would get two and the others one.
  std::array<int, 3> remainders{};
  for (int i = 0; i < kDraws; ++i) ++remainders[stream.below(std::uint64_t{3} << 30) % 3];
  for (const int count : remainders) CHECK(std::abs(count - kDraws / 3) < 330);  // four standard deviations
  std::array<int, 4> quarters{};
  for (int i = 0; i < kDraws; ++i) ++quarters[stream.below(std::uint64_t{1} << 40) >> 38];
  for (const int count : quarters) CHECK(std::abs(count - kDraws / 4) < 300);
  for (int i = 0; i < 100; ++i) {
    CHECK(stream.below(0) == 0);
    CHECK(stream.below(1) == 0);
    CHECK(stream.integer(-7, -7) == -7);
  }
}

TEST_CASE("Integers below a bound are uniform", "[random]") {
  Stream stream(SampleId{.seed = 1}, 0);
  std::array<int, 6> counts{};
  constexpr int kDraws = 60000;
  for (int i = 0; i < kDraws; ++i) ++counts[stream.below(6)];
  double chi_square = 0;
  for (int count : counts) chi_square += (count - kDraws / 6.0) * (count - kDraws / 6.0) / (kDraws / 6.0);
  CHECK(chi_square < 20.5);  // 5 degrees of freedom, p = 0.001
  for (int i = 0; i < 1000; ++i) {
    const auto value = stream.integer(-3, 4);
    REQUIRE(value >= -3);
    REQUIRE(value <= 4);
  }
}

TEST_CASE("A shuffle keeps the values and reaches every order", "[random]") {
  Stream stream(SampleId{.seed = 2}, 0);
  std::set<std::array<std::int64_t, 3>> orders;
  for (int i = 0; i < 200; ++i) {
    std::array<std::int64_t, 3> values{1, 2, 3};
    stream.shuffle(values);
    orders.insert(values);
  }
  CHECK(orders.size() == 6);
}

TEST_CASE("A normal field has the moments and the tails of a normal distribution", "[random]") {
  const Stream stream(SampleId{.seed = 3}, 9);
  std::vector<float> field(1 << 20, 0.0f);
  stream.add_normal(field, 0, 1.0f);
  double sum = 0, square = 0, fourth = 0;
  int beyond_three = 0;
  for (float value : field) {
    sum += value;
    square += double{value} * value;
    fourth += double{value} * value * value * value;
    beyond_three += std::abs(value) > 3.0f;
  }
  const double n = static_cast<double>(field.size());
  CHECK(std::abs(sum / n) < 4e-3);
  CHECK(square / n == Catch::Approx(1.0).margin(6e-3));
  CHECK(fourth / n == Catch::Approx(3.0).margin(5e-2));
  CHECK(beyond_three / n == Catch::Approx(0.0026998).margin(2.5e-4));
  // Kolmogorov-Smirnov against the normal distribution, p = 0.001: 1.95 / sqrt(n).
  std::sort(field.begin(), field.end());
  double largest = 0;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const double expected = 0.5 * std::erfc(-double{field[i]} / std::sqrt(2.0));
    largest = std::max(largest, std::abs(expected - (static_cast<double>(i) + 0.5) / n));
  }
  CHECK(largest < 1.95 / std::sqrt(n));
}

TEST_CASE("A normal field is Box and Muller's of seven rounds of Philox", "[random]") {
  // Computed apart from this code, in double: numbers of blocks 0 and 1000.
  const double expected[] = {1.053850, 0.462628, 0.678010, -0.498786, -0.012635, 1.866121, -0.400400, -0.011929};
  std::vector<float> field(4004, 0.0f);
  Stream(SampleId{.seed = 4, .rank = 3, .role = 1, .step = 9, .slot = 2}, 6).add_normal(field, 0, 1.0f);
  for (std::size_t i = 0; i < 8; ++i) CHECK(field[i < 4 ? i : 4000 + i - 4] == Catch::Approx(expected[i]).margin(1e-5));
}

TEST_CASE("Numbers of a normal field do not hang together", "[random]") {
  std::vector<float> field(1 << 20, 0.0f), other(1 << 20, 0.0f);
  Stream(SampleId{.seed = 3}, 1).add_normal(field, 0, 1.0f);
  Stream(SampleId{.seed = 3, .slot = 1}, 1).add_normal(other, 0, 1.0f);
  const auto correlation = [](std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
    return std::abs(sum) / static_cast<double>(a.size());
  };
  // Five standard deviations. Neighbours in a block, in a tile and in a row of a patch; and their sizes.
  const double limit = 5 / std::sqrt(static_cast<double>(field.size()));
  CHECK(correlation(field, other) < limit);
  std::vector<float> squares(field.size());
  for (std::size_t i = 0; i < field.size(); ++i) squares[i] = (field[i] * field[i] - 1.0f) / std::sqrt(2.0f);
  for (const std::size_t lag : {1u, 2u, 3u, 4u, 64u, 128u, 256u, 65536u}) {
    CAPTURE(lag);
    for (const auto& values : {field, squares})
      CHECK(correlation(std::span(values).first(values.size() - lag), std::span(values).subspan(lag)) < limit);
  }
}

TEST_CASE("A normal field is the same however it is cut", "[random]") {
  const Stream stream(SampleId{.seed = 4}, 1);
  std::vector<float> whole(1003, 1.0f), parts(1003, 1.0f);
  stream.add_normal(whole, 0, 0.5f);
  std::size_t begin = 0;
  for (std::size_t length : {1u, 30u, 32u, 64u, 7u, 500u, 369u}) {
    stream.add_normal(std::span(parts).subspan(begin, length), begin, 0.5f);
    begin += length;
  }
  REQUIRE(begin == parts.size());
  CHECK(whole == parts);
}

TEST_CASE("A normal field is the same from wherever it begins, far away too", "[random]") {
  const Stream stream(SampleId{.seed = 4}, 1);
  std::vector<float> whole(300'000, 0.0f);
  stream.add_normal(whole, 0, 1.0f);
  for (const std::size_t first : {1u, 255u, 256u, 65'535u, 65'536u, 199'999u, 299'000u}) {
    CAPTURE(first);
    std::vector<float> part(1000, 0.0f);
    stream.add_normal(part, first, 1.0f);
    CHECK(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(first)));
  }
  // Far beyond: its numbers are others, and no tile's are those of the first.
  for (const std::uint64_t first : {std::uint64_t{1} << 24, std::uint64_t{1} << 32, std::uint64_t{1} << 33}) {
    CAPTURE(first);
    std::vector<float> part(1000, 0.0f), later(999, 0.0f);
    stream.add_normal(part, first, 1.0f);
    CHECK_FALSE(std::equal(part.begin(), part.end(), whole.begin()));
    stream.add_normal(later, first + 1, 1.0f);
    CHECK(std::equal(later.begin(), later.end(), part.begin() + 1));
  }
}

TEST_CASE("A stream is not made where its counter has no room for the name", "[random]") {
  using testing::has;
  using testing::message_of;
  const SampleId last{
      .step = Stream::kMostSteps - 1, .slot = Stream::kMostSlots - 1, .attempt = Stream::kMostAttempts - 1};
  CHECK_NOTHROW(Stream(last, Stream::kMostPurposes - 1));
  const auto refused = [&](void (*change)(SampleId&)) {
    SampleId id = last;
    change(id);
    return message_of([&] { Stream(id, 0); });
  };
  CHECK(has(refused([](SampleId& id) { ++id.slot; }), "a slot below 65536, got 65536"));
  CHECK(has(refused([](SampleId& id) { ++id.attempt; }), "an attempt below 4096, got 4096"));
  CHECK(has(refused([](SampleId& id) { ++id.step; }), "a step below 281474976710656"));
  CHECK(has(message_of([&] { Stream(last, Stream::kMostPurposes); }), "a purpose below 1048576"));
}

}  // namespace fastnnunet::random
