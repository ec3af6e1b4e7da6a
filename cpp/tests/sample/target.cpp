#include "fastnnunet/sample/target.h"

#include <cmath>
#include <limits>
#include <string>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "message.h"

namespace fastnnunet::sample {
namespace {

constexpr TargetType kTypes[] = {TargetType::int16,   TargetType::boolean, TargetType::uint8,   TargetType::int8,
                                 TargetType::int32,   TargetType::int64,   TargetType::float16, TargetType::bfloat16,
                                 TargetType::float32, TargetType::float64};

template <typename From, typename To>
To copied(TargetType from_type, From value, TargetType to_type) {
  From from[3] = {value, value, value};
  To to[3] = {};
  copy_values({from_type, from, 1, {1, 1, 3}}, {to_type, to, 1, {1, 1, 3}});
  CHECK(to[0] == to[2]);
  return to[1];
}

TEST_CASE("targets: a type holds another only where no value is lost", "[transforms]") {
  const auto types = [](TargetType wider) {
    std::string list;
    for (const TargetType type : kTypes)
      if (holds(wider, type)) list += std::string(name_of(type)) + " ";
    return list;
  };
  CHECK(types(TargetType::int16) == "int16 bool uint8 int8 ");
  CHECK(types(TargetType::boolean) == "bool ");
  CHECK(types(TargetType::uint8) == "bool uint8 ");
  CHECK(types(TargetType::int8) == "bool int8 ");
  CHECK(types(TargetType::int32) == "int16 bool uint8 int8 int32 ");
  CHECK(types(TargetType::int64) == "int16 bool uint8 int8 int32 int64 ");
  CHECK(types(TargetType::float16) == "float16 ");
  CHECK(types(TargetType::bfloat16) == "bfloat16 ");
  CHECK(types(TargetType::float32) == "int16 bool uint8 int8 float32 ");
  CHECK(types(TargetType::float64) == "int16 bool uint8 int8 int32 float32 float64 ");
}

TEST_CASE("targets: values are the same in a type that holds them", "[transforms]") {
  CHECK(copied<std::int16_t, std::int64_t>(TargetType::int16, -32768, TargetType::int64) == -32768);
  CHECK(copied<std::uint8_t, std::int16_t>(TargetType::uint8, 255, TargetType::int16) == 255);
  CHECK(copied<std::uint8_t, float>(TargetType::boolean, 1, TargetType::float32) == 1.0f);
  CHECK(copied<std::int8_t, std::int32_t>(TargetType::int8, -128, TargetType::int32) == -128);
  CHECK(copied<std::int32_t, double>(TargetType::int32, 2147483647, TargetType::float64) == 2147483647.0);
  CHECK(copied<float, double>(TargetType::float32, 0.1f, TargetType::float64) == static_cast<double>(0.1f));
  CHECK(copied<std::uint16_t, std::uint16_t>(TargetType::bfloat16, 0x3f80, TargetType::bfloat16) == 0x3f80);
}

TEST_CASE("targets: what a type does not hold is refused", "[transforms]") {
  float from = 0.5f;
  std::int16_t to = 7;
  const auto copy = [&] {
    copy_values({TargetType::float32, &from, 1, {1, 1, 1}}, {TargetType::int16, &to, 1, {1, 1, 1}});
  };
  CHECK(testing::message_of(copy) ==
        "[targets] expected int16, as other samples have, or a type whose values it holds, got float32");
  CHECK(to == 7);
}

}  // namespace
}  // namespace fastnnunet::sample
