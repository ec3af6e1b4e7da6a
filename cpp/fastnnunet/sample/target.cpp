#include "fastnnunet/sample/target.h"

#include <array>
#include <cstring>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::sample {
namespace {

enum class Kind : std::uint8_t { truth, whole, real };

struct Description {
  std::string_view name;
  std::size_t bytes;
  Kind kind;
  int digits;  // bits of a whole number's magnitude, or of a real number's significand
  bool negative;
};

// In the order of TargetType.
constexpr std::array<Description, 10> kTypes{{
    {"int16", 2, Kind::whole, 15, true},
    {"bool", 1, Kind::truth, 1, false},
    {"uint8", 1, Kind::whole, 8, false},
    {"int8", 1, Kind::whole, 7, true},
    {"int32", 4, Kind::whole, 31, true},
    {"int64", 8, Kind::whole, 63, true},
    {"float16", 2, Kind::real, 11, true},
    {"bfloat16", 2, Kind::real, 8, true},
    {"float32", 4, Kind::real, 24, true},
    {"float64", 8, Kind::real, 53, true},
}};

const Description& describe(TargetType type) { return kTypes[static_cast<std::size_t>(type)]; }

template <typename From, typename To>
void convert(const void* from, void* to, std::int64_t count) {
  const auto* in = static_cast<const From*>(from);
  auto* out = static_cast<To*>(to);
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<To>(in[i]);
}

template <typename From>
bool convert_from(const Target& from, const Target& to, std::int64_t count) {
  switch (to.type) {
    case TargetType::int16:
      convert<From, std::int16_t>(from.data, to.data, count);
      return true;
    case TargetType::int32:
      convert<From, std::int32_t>(from.data, to.data, count);
      return true;
    case TargetType::int64:
      convert<From, std::int64_t>(from.data, to.data, count);
      return true;
    case TargetType::uint8:
      convert<From, std::uint8_t>(from.data, to.data, count);
      return true;
    case TargetType::int8:
      convert<From, std::int8_t>(from.data, to.data, count);
      return true;
    case TargetType::float32:
      convert<From, float>(from.data, to.data, count);
      return true;
    case TargetType::float64:
      convert<From, double>(from.data, to.data, count);
      return true;
    default:
      return false;
  }
}

}  // namespace
}  // namespace fastnnunet::sample

namespace fastnnunet {

std::size_t element_bytes(TargetType type) { return sample::describe(type).bytes; }

std::string_view name_of(TargetType type) { return sample::describe(type).name; }

}  // namespace fastnnunet

namespace fastnnunet::sample {

bool holds(TargetType wider, TargetType type) {
  if (wider == type) return true;
  const Description &to = describe(wider), &from = describe(type);
  // Of the short floating-point types nothing is converted.
  if (to.kind == Kind::truth || wider == TargetType::float16 || wider == TargetType::bfloat16) return false;
  if (type == TargetType::float16 || type == TargetType::bfloat16) return false;
  if (from.kind == Kind::real && to.kind == Kind::whole) return false;
  return from.digits <= to.digits && (to.negative || !from.negative);
}

void copy_values(const Target& from, const Target& to) {
  if (from.type == to.type) {
    std::memcpy(to.data, from.data, to.bytes());
    return;
  }
  const std::int64_t count = from.channels * voxels(from.shape);
  const auto done = [&] {
    if (!holds(to.type, from.type)) return false;
    switch (from.type) {
      case TargetType::int16:
        return convert_from<std::int16_t>(from, to, count);
      case TargetType::boolean:
      case TargetType::uint8:
        return convert_from<std::uint8_t>(from, to, count);
      case TargetType::int8:
        return convert_from<std::int8_t>(from, to, count);
      case TargetType::int32:
        return convert_from<std::int32_t>(from, to, count);
      case TargetType::int64:
        return convert_from<std::int64_t>(from, to, count);
      case TargetType::float32:
        return convert_from<float>(from, to, count);
      default:
        return false;
    }
  }();
  if (!done)
    throw InvalidArgument("targets",
                          std::string(name_of(to.type)) + ", as other samples have, or a type whose values it holds",
                          name_of(from.type));
}

}  // namespace fastnnunet::sample
