#include "fastnnunet/preprocessing/foreground.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "catch.h"

namespace fastnnunet::preprocessing {
namespace {

TEST_CASE("preprocessing: intensities are drawn from the foreground, a row for each channel", "[preprocessing]") {
  std::vector<float> image(2 * 60);
  std::vector<std::int16_t> labels(60);
  for (std::size_t i = 0; i < 60; ++i) {
    labels[i] = static_cast<std::int16_t>(i % 3) - 1;
    image[i] = labels[i] > 0 ? 1.0f + static_cast<float>(i) : -1.0f;
    image[60 + i] = labels[i] > 0 ? 1000.0f : -1.0f;
  }
  std::vector<float> out(2 * 500, -7.0f);
  CHECK(draw_foreground(image.data(), 2, labels.data(), {3, 4, 5}, 1234, 300, 500, out.data()) == 20);
  CHECK(std::all_of(out.begin(), out.begin() + 300, [](float value) { return value > 0.0f; }));
  CHECK(std::all_of(out.begin() + 300, out.begin() + 500, [](float value) { return value == -7.0f; }));
  CHECK(std::all_of(out.begin() + 500, out.begin() + 800, [](float value) { return value == 1000.0f; }));

  labels.assign(60, 0);
  CHECK(draw_foreground(image.data(), 2, labels.data(), {3, 4, 5}, 1234, 300, 500, out.data()) == 0);
}

}  // namespace
}  // namespace fastnnunet::preprocessing
