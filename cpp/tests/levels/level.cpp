// Tells the functions marked FASTNNUNET_CLONES of which level of x86-64 their processor is (FASTNNUNET_LEVEL), so that
// what was compiled for an older one can be tested on a newer. It stands for the part of GCC's library that looks at
// the processor: whichever clone is wanted is decided when the program is loaded, by __cpu_indicator_init and the bits
// that it leaves.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "catch.h"

extern "C" {

struct ProcessorModel {
  unsigned vendor, type, subtype, features[1];
};
[[gnu::visibility("hidden")]] ProcessorModel __cpu_model;
[[gnu::visibility("hidden")]] unsigned __cpu_features2[32];

// Called before the program is relocated: it may call nothing. Bits have other numbers in other versions of GCC, which
// __builtin_cpu_supports knows.
[[gnu::visibility("hidden")]] int __cpu_indicator_init() {
  static bool done = false;
  if (done) return 0;
  done = true;
  unsigned* const words[] = {&__cpu_model.features[0], __cpu_features2};
  const int counts[] = {1, 32};
  unsigned keep_model = 0, keep[32] = {};
  for (int part = 0; part < 2; ++part)
    for (int word = 0; word < counts[part]; ++word)
      for (int bit = 0; bit < 32; ++bit) {
        volatile unsigned* const at = words[part] + word;
        *at = 1u << bit;
        asm volatile("" ::: "memory");  // to the compiler, what __builtin_cpu_supports reads is another variable
        const bool wanted = (FASTNNUNET_LEVEL >= 3 && __builtin_cpu_supports("x86-64-v3")) ||
                            (FASTNNUNET_LEVEL >= 4 && __builtin_cpu_supports("x86-64-v4"));
        asm volatile("" ::: "memory");
        *at = 0;
        if (wanted) (part == 0 ? keep_model : keep[word]) |= 1u << bit;
      }
  __cpu_model.vendor = 1;
  __cpu_model.features[0] = keep_model;
  for (int word = 0; word < 32; ++word) __cpu_features2[word] = keep[word];
  return 0;
}
}

namespace fastnnunet {
namespace {

// Chosen as the clones are.
[[gnu::target("default")]] int level() { return 1; }
[[gnu::target("arch=x86-64-v3")]] int level() { return 3; }
[[gnu::target("arch=x86-64-v4")]] int level() { return 4; }

// What no processor that lacks it can run.
const bool kEnds = [] {
  std::ifstream file("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto has = [&](const char* flag) { return text.find(std::string(" ") + flag + " ") != std::string::npos; };
  if (FASTNNUNET_LEVEL >= 3 && !(has("avx2") && has("fma") && has("bmi2"))) std::_Exit(77);
  if (FASTNNUNET_LEVEL >= 4 && !(has("avx512f") && has("avx512vl") && has("avx512bw"))) std::_Exit(77);
  return true;
}();

TEST_CASE("levels: the clones of this program are those of its level", "[levels]") {
  CHECK(kEnds);
  CHECK(level() == FASTNNUNET_LEVEL);
}

}  // namespace
}  // namespace fastnnunet
