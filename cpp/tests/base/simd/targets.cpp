#include "fastnnunet/base/simd/targets.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "catch.h"

namespace fastnnunet::simd {
namespace {

const std::string kForced = [] {
  const char* const value = std::getenv("FASTNNUNET_SIMD");
  return std::string(value == nullptr ? "" : value);
}();

bool has(const std::string& name) {
  const auto names = targets();
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Ends a run whose target only this processor lacks (SKIP_RETURN_CODE). One of another name is a failing test.
[[maybe_unused]] const bool kEnds = [] {
  for (const char* const known : {"SSE4", "AVX2", "AVX3", "NEON"})
    if (kForced == known && !has(known)) std::_Exit(77);
  return true;
}();

TEST_CASE("simd: the loops that run are those of the target that was asked for", "[base]") {
  CHECK_NOTHROW(check_setting());
  if (kForced.empty()) {
    // The best there is: the second name, for the first one is the baseline's.
    if (targets().size() > 1) CHECK(target() == targets()[1]);
  } else if (kForced == "BASELINE") {
    for (const std::string& name : targets()) CHECK(target() != name);
  } else {
    CHECK(target() == kForced);
  }
}

}  // namespace
}  // namespace fastnnunet::simd
