#include "fastnnunet/sample/linear.h"

#include <cstddef>

#include "fastnnunet/base/simd/clones.h"

namespace fastnnunet {

namespace {

FASTNNUNET_CLONES
void apply(float* FASTNNUNET_RESTRICT values, std::size_t count, Linear arithmetic) {
  for (std::size_t i = 0; i < count; ++i) values[i] = arithmetic(values[i]);
}

}  // namespace

void settle(const Linear& arithmetic, std::span<float> values) {
  if (arithmetic.changes()) apply(values.data(), values.size(), arithmetic);
}

}  // namespace fastnnunet
