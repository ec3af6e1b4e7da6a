#include "fastnnunet/base/simd/targets.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include "fastnnunet/base/error.h"
#include "hwy/targets.h"

namespace fastnnunet::simd {
namespace {

constexpr const char* kVariable = "FASTNNUNET_SIMD";
constexpr const char* kBaseline = "BASELINE";

struct Choice {
  std::int64_t targets;
  bool known = true;
};

// Of the set's targets the best one has the lowest bit.
std::int64_t first_of(std::int64_t targets) { return targets & -targets; }

std::string wanted() {
  const char* const value = std::getenv(kVariable);
  return value == nullptr ? "" : value;
}

// What the compiler took for granted is there, whatever Highway asks for beyond it.
std::int64_t available() { return (hwy::SupportedTargets() | HWY_STATIC_TARGET) & (HWY_TARGETS); }

Choice choose() {
  const std::string name = wanted();
  if (name.empty()) return {available()};
  if (name == kBaseline) return {HWY_STATIC_TARGET};
  for (std::int64_t left = available(); left != 0; left &= left - 1)
    if (name == hwy::TargetName(first_of(left))) return {first_of(left)};
  return {available(), false};
}

// Once: what runs does not change while it runs.
const Choice& choice() {
  static const Choice made = choose();
  return made;
}

}  // namespace

std::string_view target() { return hwy::TargetName(first_of(choice().targets)); }

std::vector<std::string> targets() {
  std::vector<std::string> names{kBaseline};
  for (std::int64_t left = available(); left != 0; left &= left - 1)
    if (first_of(left) != HWY_STATIC_TARGET) names.emplace_back(hwy::TargetName(first_of(left)));
  return names;
}

void check_setting() {
  if (choice().known) return;
  std::string names;
  for (const std::string& name : targets()) names += (names.empty() ? "" : ", ") + name;
  throw InvalidArgument(kVariable, "a target that this processor has (" + names + ")", wanted());
}

std::size_t place_in_table() {
  // One of our own: Highway's is the whole process's.
  hwy::ChosenTarget chosen;
  chosen.Update(choice().targets);
  return chosen.GetIndex();
}

}  // namespace fastnnunet::simd
