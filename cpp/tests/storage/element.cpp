#include "fastnnunet/storage/element.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.h"

namespace fastnnunet::storage {
namespace {

template <typename To, typename From>
std::vector<To> converted(Element element, const std::vector<From>& from) {
  // Unaligned, as in a file.
  std::vector<std::byte> bytes(from.size() * sizeof(From) + 1);
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::memcpy(bytes.data() + 1 + i * sizeof(From), &from[i], sizeof(From));
  }
  std::vector<To> to(from.size());
  convert_row<To>(element)(bytes.data() + 1, sizeof(From), to.data(), static_cast<std::int64_t>(from.size()));
  // Backwards through the same bytes: rows with a step.
  std::vector<To> reversed(from.size());
  convert_row<To>(element)(bytes.data() + 1 + (from.size() - 1) * sizeof(From),
                           -static_cast<std::ptrdiff_t>(sizeof(From)), reversed.data(),
                           static_cast<std::int64_t>(from.size()));
  for (std::size_t i = 0; i < to.size(); ++i) {
    CHECK(std::memcmp(&to[i], &reversed[to.size() - 1 - i], sizeof(To)) == 0);
  }
  return to;
}

TEST_CASE("element: every float16 becomes its float32") {
  std::vector<std::uint16_t> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  const auto floats = converted<float>(Element::float16, halves);
  int wrong = 0;
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const int exponent = static_cast<int>(i >> 10 & 31);
    const int mantissa = static_cast<int>(i & 1023);
    float expected = exponent == 0    ? std::ldexp(static_cast<float>(mantissa), -24)
                     : exponent == 31 ? (mantissa == 0 ? INFINITY : NAN)
                                      : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    if (i >= 32768) expected = -expected;
    const bool right = std::isnan(expected)
                           ? std::isnan(floats[i])
                           : std::bit_cast<std::uint32_t>(expected) == std::bit_cast<std::uint32_t>(floats[i]);
    if (!right) ++wrong;
  }
  CHECK(wrong == 0);
}

// The expected numbers are what numpy.array([...]).astype(numpy.int16) gives on x86-64.
TEST_CASE("element: int16 as NumPy's astype") {
  using Shorts = std::vector<std::int16_t>;
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(converted<std::int16_t>(Element::float32, std::vector<float>{1.9f, -1.9f, 40000.0f, -40000.0f, 1e9f, 3e9f, nan,
                                                                     inf, -inf, -0.5f}) ==
        Shorts{1, -1, -25536, 25536, -13824, 0, 0, 0, 0, 0});
  CHECK(converted<std::int16_t>(Element::float64, std::vector<double>{2.5, -7.0, 65535.0, -65537.0, 1e300}) ==
        Shorts{2, -7, -1, -1, 0});
  CHECK(converted<std::int16_t>(Element::int32, std::vector<std::int32_t>{5, -5, 32768, 70000, -70000}) ==
        Shorts{5, -5, -32768, 4464, -4464});
  CHECK(converted<std::int16_t>(Element::int64, std::vector<std::int64_t>{5, -5, 1ll << 40}) == Shorts{5, -5, 0});
  CHECK(converted<std::int16_t>(Element::uint16, std::vector<std::uint16_t>{1, 65535}) == Shorts{1, -1});
  CHECK(converted<std::int16_t>(Element::uint8, std::vector<std::uint8_t>{0, 255}) == Shorts{0, 255});
  CHECK(converted<std::int16_t>(Element::int8, std::vector<std::int8_t>{-1, 127}) == Shorts{-1, 127});
  CHECK(converted<std::int16_t>(Element::boolean, std::vector<std::uint8_t>{0, 1}) == Shorts{0, 1});
  CHECK(converted<std::int16_t>(Element::float16, std::vector<std::uint16_t>{0x4500, 0xc500, 0x7c00}) ==
        Shorts{5, -5, 0});
}

TEST_CASE("element: float32 of the other types") {
  using Floats = std::vector<float>;
  CHECK(converted<float>(Element::float64, std::vector<double>{0.1, 1e300, -2.0}) ==
        Floats{0.1f, std::numeric_limits<float>::infinity(), -2.0f});
  CHECK(converted<float>(Element::int64, std::vector<std::int64_t>{16777217, -3}) == Floats{16777216.0f, -3.0f});
  CHECK(converted<float>(Element::uint64, std::vector<std::uint64_t>{~0ull}) == Floats{18446744073709551616.0f});
  CHECK(converted<float>(Element::uint32, std::vector<std::uint32_t>{4294967295u}) == Floats{4294967296.0f});
  CHECK(converted<float>(Element::boolean, std::vector<std::uint8_t>{1, 0, 3}) == Floats{1.0f, 0.0f, 1.0f});
}

// A wrong sign or width of an element shows at its ends.
template <typename From>
void check_extremes(Element element) {
  using Limits = std::numeric_limits<From>;
  const std::vector<From> values{Limits::lowest(),
                                 Limits::max(),
                                 From{0},
                                 From{1},
                                 static_cast<From>(Limits::max() / 2),
                                 static_cast<From>(Limits::max() / 2 + 1)};
  const auto floats = converted<float>(element, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(static_cast<int>(element), i);
    CHECK(floats[i] == static_cast<float>(values[i]));
  }
  if constexpr (std::is_integral_v<From>) {
    const auto shorts = converted<std::int16_t>(element, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      CAPTURE(static_cast<int>(element), i);
      CHECK(shorts[i] == static_cast<std::int16_t>(values[i]));
    }
  }
}

TEST_CASE("element: the ends of every type") {
  check_extremes<std::int8_t>(Element::int8);
  check_extremes<std::uint8_t>(Element::uint8);
  check_extremes<std::int16_t>(Element::int16);
  check_extremes<std::uint16_t>(Element::uint16);
  check_extremes<std::int32_t>(Element::int32);
  check_extremes<std::uint32_t>(Element::uint32);
  check_extremes<std::int64_t>(Element::int64);
  check_extremes<std::uint64_t>(Element::uint64);
  check_extremes<float>(Element::float32);
}

TEST_CASE("element: NumPy's names") {
  const std::pair<std::string, Element> all[] = {
      {"b1", Element::boolean}, {"i1", Element::int8},    {"u1", Element::uint8},   {"i2", Element::int16},
      {"u2", Element::uint16},  {"i4", Element::int32},   {"u4", Element::uint32},  {"i8", Element::int64},
      {"u8", Element::uint64},  {"f2", Element::float16}, {"f4", Element::float32}, {"f8", Element::float64}};
  const bool little = std::endian::native == std::endian::little;
  for (const auto& [name, element] : all) {
    CAPTURE(name);
    CHECK(size_of(element) == static_cast<std::size_t>(name[1] - '0'));
    for (const std::string order : {"", "=", "|", little ? "<" : ">"}) CHECK(element_of(order + name) == element);
    // The other order of bytes makes no difference to a single one.
    CHECK(element_of((little ? ">" : "<") + name) == (name[1] == '1' ? std::optional<Element>(element) : std::nullopt));
  }
  CHECK(element_of("<f4") == Element::float32);
  CHECK(element_of("=f4") == Element::float32);
  CHECK(element_of("f2") == Element::float16);
  CHECK(element_of("|i1") == Element::int8);
  CHECK(element_of(">i1") == Element::int8);
  CHECK(element_of("|b1") == Element::boolean);
  CHECK(element_of("?") == Element::boolean);
  for (const char* name : {"", "<", ">f4", "<f16", "<c8", "|O", "<U3", "f", "<f3", "|V4"}) CHECK(!element_of(name));
}

}  // namespace
}  // namespace fastnnunet::storage
