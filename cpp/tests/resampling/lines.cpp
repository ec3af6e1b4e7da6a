#include "fastnnunet/resampling/lines.h"

#include <cmath>
#include <vector>

#include "catch.h"

namespace fastnnunet::resampling {
namespace {

std::vector<float> lines_of(const std::vector<float>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  std::vector<float> lines(static_cast<std::size_t>((n + 2 * kLineMargin) * kLanes), 0.0f);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t l = 0; l < kLanes; ++l)
      lines[static_cast<std::size_t>((i + kLineMargin) * kLanes + l)] =
          values[static_cast<std::size_t>(i)] * static_cast<float>(l + 1);
  return lines;
}

// Lane 2 of the resized lines, whose values were three times those of the first.
std::vector<float> resized(const std::vector<float>& values, std::int64_t to, int order) {
  const LineAxis axis = line_axis(static_cast<std::int64_t>(values.size()), to, order);
  std::vector<float> lines = lines_of(values);
  prepare_lines(axis, lines.data());
  std::vector<float> out(static_cast<std::size_t>(to * kLanes));
  combine_lines(axis, lines.data(), kLanes, out.data(), kLanes, nullptr);
  std::vector<float> lane;
  for (std::int64_t i = 0; i < to; ++i) lane.push_back(out[static_cast<std::size_t>(i * kLanes + 2)] / 3.0f);
  return lane;
}

TEST_CASE("lines: a spline goes through its values, and on with the last ones", "[resampling]") {
  const std::vector<float> values = {3, 1, 4, 1, 5, 9, 2, 6};
  const auto n = static_cast<std::int64_t>(values.size());
  std::vector<float> lines = lines_of(values);
  prepare_lines(line_axis(n, n, 3), lines.data());
  const auto row = [&](std::int64_t i) { return lines[static_cast<std::size_t>((i + kLineMargin) * kLanes)]; };
  for (std::int64_t i = 0; i < n; ++i)
    CHECK(row(i - 1) + 4 * row(i) + row(i + 1) == Catch::Approx(values[static_cast<std::size_t>(i)]).margin(1e-5));
  CHECK(row(-2) + 4 * row(-1) + row(0) == Catch::Approx(3).margin(1e-5));
  CHECK(row(n - 1) + 4 * row(n) + row(n + 1) == Catch::Approx(6).margin(1e-5));
}

// The values of scipy.ndimage.zoom(values, to / 5, order=3, mode='nearest', grid_mode=True).
TEST_CASE("lines: cubic up and down, as SciPy's", "[resampling]") {
  const std::vector<float> values = {0, 1, 4, 2, 3};
  const std::vector<float> up = {-0.002776f, 0.095153f, 1.193078f, 3.456863f,
                                 3.653315f,  2.083858f, 2.323032f, 3.144324f};
  const std::vector<float> down = {0.046006f, 4.000000f, 2.496724f};
  const std::vector<float> got_up = resized(values, 8, 3), got_down = resized(values, 3, 3);
  for (std::size_t i = 0; i < up.size(); ++i) CHECK(got_up[i] == Catch::Approx(up[i]).margin(1e-5));
  for (std::size_t i = 0; i < down.size(); ++i) CHECK(got_down[i] == Catch::Approx(down[i]).margin(1e-5));
}

TEST_CASE("lines: linear and nearest keep both ends", "[resampling]") {
  const std::vector<float> values = {0, 8, 16};
  const std::vector<float> linear = {0, 2, 6, 10, 14, 16}, nearest = {0, 0, 8, 8, 16, 16};
  const std::vector<float> got_linear = resized(values, 6, 1), got_nearest = resized(values, 6, 0);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(got_linear[i] == Catch::Approx(linear[i]).margin(1e-5));
    CHECK(got_nearest[i] == nearest[i]);
  }
}

TEST_CASE("lines: of one value", "[resampling]") {
  for (const int order : {0, 1, 3})
    for (const float value : resized({7}, 5, order)) CHECK(value == Catch::Approx(7));
}

TEST_CASE("lines: transposed in and out", "[resampling]") {
  constexpr std::int64_t kCount = 37, kRows = 50, kStride = 41;
  std::vector<float> data(kRows * kStride), back(kRows * kStride, -1.0f);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  std::vector<float> lines((kCount + 2 * kLineMargin) * kLanes, -1.0f);
  load_lines_transposed(data.data(), kStride, kCount, kRows, 5.0f, lines.data());
  store_lines_transposed(lines.data() + kLineMargin * kLanes, kCount, kRows, back.data(), kStride);
  for (std::int64_t l = 0; l < kRows; ++l)
    for (std::int64_t i = 0; i < kStride; ++i) {
      const auto at = static_cast<std::size_t>(l * kStride + i);
      REQUIRE(back[at] == (i < kCount ? data[at] - 5.0f : -1.0f));
    }
  CHECK(lines[kLineMargin * kLanes + kRows] == 0.0f);
}

}  // namespace
}  // namespace fastnnunet::resampling
