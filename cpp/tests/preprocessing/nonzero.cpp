#include "fastnnunet/preprocessing/nonzero.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "catch.h"

namespace fastnnunet::preprocessing {
namespace {

using Mask = std::vector<std::uint8_t>;

TEST_CASE("preprocessing: the box holds what is not zero in some channel", "[preprocessing]") {
  const Index3 shape{4, 5, 6};
  std::vector<float> image(2 * 4 * 5 * 6);
  const auto at = [&](int c, int x, int y, int z) -> float& {
    return image[static_cast<std::size_t>(((c * 4 + x) * 5 + y) * 6 + z)];
  };
  for (const int threads : {1, 3}) {
    Box box = nonzero_box(image.data(), 2, shape, threads);
    CHECK(box.lower == Index3{0, 0, 0});  // nothing: all of it
    CHECK(box.upper == shape);
    at(0, 1, 2, 5) = -1.0f;
    at(1, 2, 4, 3) = std::numeric_limits<float>::quiet_NaN();
    box = nonzero_box(image.data(), 2, shape, threads);
    CHECK(box.lower == Index3{1, 2, 3});
    CHECK(box.upper == Index3{3, 5, 6});
    image.assign(image.size(), 0.0f);
  }
}

// A cube of ones with a hole in the middle.
Mask hollow(std::int64_t size) {
  Mask mask(static_cast<std::size_t>(size * size * size), 1);
  mask[static_cast<std::size_t>((size / 2 * size + size / 2) * size + size / 2)] = 0;
  return mask;
}

TEST_CASE("preprocessing: holes are filled, and bays are not", "[preprocessing]") {
  const std::int64_t size = 7;
  Mask mask = hollow(size);
  fill_holes(mask.data(), {size, size, size});
  CHECK(mask == Mask(mask.size(), 1));

  // A way to the border along Z.
  mask = hollow(size);
  Mask open = mask;
  for (std::int64_t z = 0; z < size / 2; ++z) open[static_cast<std::size_t>((3 * size + 3) * size + z)] = 0;
  mask = open;
  fill_holes(mask.data(), {size, size, size});
  CHECK(mask == open);

  // A way that only touches at an edge is none: connected are voxels that share a face.
  mask = hollow(size);
  mask[static_cast<std::size_t>((3 * size + 2) * size + 2)] = 0;
  mask[static_cast<std::size_t>((3 * size + 1) * size + 1)] = 0;
  fill_holes(mask.data(), {size, size, size});
  CHECK(mask == Mask(mask.size(), 1));
}

TEST_CASE("preprocessing: one plane has no holes, for everything in it touches the border", "[preprocessing]") {
  Mask mask = {1, 1, 1, 1, 0, 1, 1, 1, 1};
  const Mask before = mask;
  fill_holes(mask.data(), {1, 3, 3});
  CHECK(mask == before);
}

TEST_CASE("preprocessing: the mask says when it is full", "[preprocessing]") {
  std::vector<float> image(2 * 27, 1.0f);
  image[13] = 0.0f;  // of the first channel only
  Mask mask(27);
  CHECK(nonzero_mask(image.data(), 2, {3, 3, 3}, 2, mask.data()));
  image[27 + 13] = 0.0f;  // a hole
  CHECK(nonzero_mask(image.data(), 2, {3, 3, 3}, 2, mask.data()));
  image[0] = image[27] = 0.0f;
  CHECK_FALSE(nonzero_mask(image.data(), 2, {3, 3, 3}, 2, mask.data()));
  CHECK(mask[0] == 0);
  CHECK(mask[13] == 1);
}

}  // namespace
}  // namespace fastnnunet::preprocessing
