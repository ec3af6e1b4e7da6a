#include "fastnnunet/storage/element.h"

#include <cstring>
#include <type_traits>

#include "fastnnunet/base/simd/half.h"

namespace fastnnunet::storage {

namespace {

struct Half {
  std::uint16_t bits;
};

struct Boolean {
  std::uint8_t bits;
};

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename To, typename From>
To converted(From value) {
  if constexpr (std::is_same_v<From, Half>) {
    return converted<To>(simd::half_to_float_exactly(value.bits));
  } else if constexpr (std::is_same_v<From, Boolean>) {
    return static_cast<To>(value.bits != 0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    // Also false for NaN.
    const bool fits = value > static_cast<From>(-2147483649.0) && value < static_cast<From>(2147483648.0);
    return fits ? static_cast<To>(static_cast<std::int32_t>(value)) : To{0};
  } else {
    return static_cast<To>(value);
  }
}

template <typename From, typename To>
void convert(const std::byte* from, std::ptrdiff_t step, To* to, std::int64_t count) {
  if (step == static_cast<std::ptrdiff_t>(sizeof(From))) {
    if constexpr (std::is_same_v<From, To>) {
      std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(To));
    } else {
      for (std::int64_t i = 0; i < count; ++i) {
        to[i] = converted<To>(load<From>(from + i * static_cast<std::ptrdiff_t>(sizeof(From))));
      }
    }
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) to[i] = converted<To>(load<From>(from + i * step));
}

}  // namespace

std::size_t size_of(Element element) {
  switch (element) {
    case Element::boolean:
    case Element::int8:
    case Element::uint8:
      return 1;
    case Element::int16:
    case Element::uint16:
    case Element::float16:
      return 2;
    case Element::int32:
    case Element::uint32:
    case Element::float32:
      return 4;
    case Element::int64:
    case Element::uint64:
    case Element::float64:
      break;
  }
  return 8;
}

std::optional<Element> element_of(std::string_view dtype) {
  if (dtype == "?") return Element::boolean;
  char order = '=';
  if (!dtype.empty() && (dtype[0] == '<' || dtype[0] == '>' || dtype[0] == '|' || dtype[0] == '=')) {
    order = dtype[0];
    dtype.remove_prefix(1);
  }
  if (dtype.size() != 2) return std::nullopt;
  const char foreign = std::endian::native == std::endian::little ? '>' : '<';
  if (order == foreign && dtype[1] != '1') return std::nullopt;
  struct Name {
    std::string_view text;
    Element element;
  };
  static constexpr Name kNames[] = {{"b1", Element::boolean}, {"i1", Element::int8},    {"u1", Element::uint8},
                                    {"i2", Element::int16},   {"u2", Element::uint16},  {"i4", Element::int32},
                                    {"u4", Element::uint32},  {"i8", Element::int64},   {"u8", Element::uint64},
                                    {"f2", Element::float16}, {"f4", Element::float32}, {"f8", Element::float64}};
  for (const Name& name : kNames) {
    if (name.text == dtype) return name.element;
  }
  return std::nullopt;
}

template <typename T>
ConvertRow<T> convert_row(Element from) {
  switch (from) {
    case Element::boolean:
      return convert<Boolean, T>;
    case Element::int8:
      return convert<std::int8_t, T>;
    case Element::uint8:
      return convert<std::uint8_t, T>;
    case Element::int16:
      return convert<std::int16_t, T>;
    case Element::uint16:
      return convert<std::uint16_t, T>;
    case Element::int32:
      return convert<std::int32_t, T>;
    case Element::uint32:
      return convert<std::uint32_t, T>;
    case Element::int64:
      return convert<std::int64_t, T>;
    case Element::uint64:
      return convert<std::uint64_t, T>;
    case Element::float16:
      return convert<Half, T>;
    case Element::float32:
      return convert<float, T>;
    case Element::float64:
      break;
  }
  return convert<double, T>;
}

template ConvertRow<float> convert_row<float>(Element from);
template ConvertRow<std::int16_t> convert_row<std::int16_t>(Element from);

}  // namespace fastnnunet::storage
