// The patch that nnU-Net would have cut out, as a source for the pipeline: a window of one or two files.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "fastnnunet/base/activity.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/storage/volume.h"
#include "fastnnunet/transforms/sample.h"

namespace fastnnunet {

// nnU-Net's values outside of the image.
template <typename T>
constexpr T kOutside = T{0};
template <>
inline constexpr std::int16_t kOutside<std::int16_t> = -1;

template <typename T>
class WindowSource final : public Source<T> {
 public:
  // Channels of `second` (a previous stage's segmentation) follow those of `first`; it may be null.
  void open(Volume& first, Volume* second, const Box& window, bool check_finite, Activity& activity) {
    activity_ = &activity;
    first_ = &first;
    second_ = second;
    window_ = window;
    shape_ = window.shape();
    check_finite_ = check_finite;
    reading_time_ = {};
  }

  std::int64_t channels() const override { return first_->channels() + (second_ != nullptr ? second_->channels() : 0); }
  const Index3& shape() const override { return shape_; }

  Box content() const override {
    return window_.intersect(Box::of_shape(first_->shape()))
        .shifted({-window_.lower[0], -window_.lower[1], -window_.lower[2]});
  }
  T filling() const override { return kOutside<T>; }

  void read(std::int64_t channel, const Box& box, T* out) override {
    const Stopwatch watch;
    const std::string_view asking = activity_->enter(std::is_same_v<T, float> ? "reading the image" : "reading labels");
    const Box in_image = box.shifted(window_.lower);
    Volume& volume = channel < first_->channels() ? *first_ : *second_;
    volume.read(channel < first_->channels() ? channel : channel - first_->channels(), in_image, out, kOutside<T>);
    if constexpr (std::is_same_v<T, float>) {
      if (check_finite_) require_finite(volume, channel, in_image, out);
    }
    reading_time_ += watch.read();
    activity_->enter(asking);
  }

  std::chrono::nanoseconds reading_time() const override { return reading_time_; }

 private:
  static void require_finite(const Volume& volume, std::int64_t channel, const Box& box, const float* values) {
    const std::int64_t count = voxels(box.shape());
    for (std::int64_t i = 0; i < count; ++i) {
      if (std::isfinite(values[i])) continue;
      const Index3 shape = box.shape();
      const auto at = [&](int axis, std::int64_t offset) { return std::to_string(box.lower[axis] + offset); };
      throw StorageError(volume.file(), "expected finite voxels, got " + std::to_string(values[i]) + " in channel " +
                                            std::to_string(channel) + " at (" + at(0, i / (shape[1] * shape[2])) +
                                            ", " + at(1, i / shape[2] % shape[1]) + ", " + at(2, i % shape[2]) + ")");
    }
  }

  Activity* activity_ = nullptr;
  Volume* first_ = nullptr;
  Volume* second_ = nullptr;
  Box window_;
  Index3 shape_{};
  bool check_finite_ = false;
  std::chrono::nanoseconds reading_time_{};
};

}  // namespace fastnnunet
