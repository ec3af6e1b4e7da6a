#include "fastnnunet/base/border.h"

#include <cstdint>
#include <vector>

#include "catch.h"

namespace fastnnunet::base {
namespace {

TEST_CASE("border: an axis of three voxels seen from outside, as NumPy pads it") {
  std::vector<std::int64_t> with_edge, without_edge;
  for (std::int64_t at = -7; at < 10; ++at) with_edge.push_back(mirrored_with_edge(at, 3));
  for (std::int64_t at = -2; at < 5; ++at) without_edge.push_back(mirrored_without_edge(at, 3));
  // np.pad([0, 1, 2], 7, "symmetric") and np.pad([0, 1, 2], 2, "reflect")
  CHECK(with_edge == std::vector<std::int64_t>{0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2});
  CHECK(without_edge == std::vector<std::int64_t>{2, 1, 0, 1, 2, 1, 0});
  CHECK(mirrored_with_edge(-5, 1) == 0);
  CHECK(mirrored_without_edge(0, 1) == 0);
}

}  // namespace
}  // namespace fastnnunet::base
