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
  image[1] = 0.5f;  // background, which decides nothing
  std::vector<float> values(300);
  std::vector<std::int16_t> whole(300);
  std::vector<bool> asked;
  const auto place = [&](bool is_whole) {
    asked.push_back(is_whole);
    return is_whole ? Drawn{nullptr, whole.data()} : Drawn{values.data(), nullptr};
  };
  CHECK(draw_foreground(image.data(), 2, labels.data(), {3, 4, 5}, 1234, 300, place) == 20);
  CHECK(asked == std::vector<bool>{true, true});
  CHECK(std::all_of(whole.begin(), whole.end(), [](std::int16_t value) { return value == 1000; }));

  // As float32 the same voxels are drawn.
  CHECK(draw_foreground(image.data(), 1, labels.data(), {3, 4, 5}, 1234, 300, place) == 20);
  for (const float odd : {0.25f, 40000.0f, -0.0f}) {
    const std::vector<std::int16_t> before = whole;
    for (std::size_t i = 0; i < 60; ++i)
      if (labels[i] > 0 && i > 50) image[i] = odd;
    asked.clear();
    CHECK(draw_foreground(image.data(), 1, labels.data(), {3, 4, 5}, 1234, 300, place) == 20);
    CHECK(asked == std::vector<bool>{false});
    for (std::size_t i = 0; i < 300; ++i) CHECK(values[i] == (before[i] > 51 ? odd : static_cast<float>(before[i])));
  }

  labels.assign(60, 0);
  asked.clear();
  CHECK(draw_foreground(image.data(), 2, labels.data(), {3, 4, 5}, 1234, 300, place) == 0);
  CHECK(asked.empty());
}

}  // namespace
}  // namespace fastnnunet::preprocessing
