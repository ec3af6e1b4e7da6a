// libFuzzer's entry for .b2nd files.
#include <cstddef>
#include <cstdint>

#include "fuzz/read_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fastnnunet::fuzzing::read_b2nd({reinterpret_cast<const char*>(data), size});
  return 0;
}
