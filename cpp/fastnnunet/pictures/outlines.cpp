#include "fastnnunet/pictures/outlines.h"

#include <opencv2/imgproc.hpp>
#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::pictures {
namespace {

constexpr std::int64_t kParts = 4;           // of a voxel along each axis
constexpr std::int64_t kMostVoxels = 16384;  // along an axis, so that OpenCV's integers hold every part

// OpenCV's contours run through the centres of an area's outermost pixels: here, parts of a voxel.
float in_voxels(int part) { return (static_cast<float>(part) + 0.5f) / static_cast<float>(kParts) - 0.5f; }

}  // namespace

std::vector<Outline> outlines(const std::uint8_t* mask, std::int64_t rows, std::int64_t columns) {
  if (rows < 1 || columns < 1 || rows > kMostVoxels || columns > kMostVoxels)
    throw InvalidArgument("outlines", "a mask of 1 to " + std::to_string(kMostVoxels) + " voxels along each axis",
                          std::to_string(rows) + " x " + std::to_string(columns));
  cv::Mat1b parts(static_cast<int>(rows * kParts), static_cast<int>(columns * kParts));
  for (int row = 0; row < parts.rows; ++row) {
    const std::uint8_t* from = mask + row / kParts * columns;
    std::uint8_t* to = parts[row];
    for (int column = 0; column < parts.cols; ++column) to[column] = from[column / kParts] != 0 ? 1 : 0;
  }
  std::vector<std::vector<cv::Point>> contours;
  cv::findContours(parts, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);

  std::vector<Outline> polygons;
  polygons.reserve(contours.size());
  for (const std::vector<cv::Point>& contour : contours) {
    Outline& polygon = polygons.emplace_back();
    polygon.reserve(contour.size());
    for (const cv::Point& point : contour) polygon.push_back({in_voxels(point.y), in_voxels(point.x)});
  }
  return polygons;
}

}  // namespace fastnnunet::pictures
