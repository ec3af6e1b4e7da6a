// The patch that nnU-Net would have cut out, as a source for the pipeline: a window of one or two files.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/durations.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/engine/patience.h"
#include "fastnnunet/sample/activity.h"
#include "fastnnunet/sample/sample.h"
#include "fastnnunet/storage/cache/volume_cache.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::engine {

// nnU-Net's values outside of the image.
template <typename T>
constexpr T kOutsideImage = T{0};
template <>
inline constexpr std::int16_t kOutsideImage<std::int16_t> = -1;

template <typename T>
class WindowSource final : public sample::Source<T> {
 public:
  // `stage`: what a thread that reads it is said to do.
  explicit WindowSource(std::string_view stage) : stage_(stage) {}

  // A file: its number among those of the sample, what is known of it, and its place in the cache if it has one.
  struct File {
    int which = 0;
    const VolumeFacts* facts = nullptr;
    storage::CachedVolume<T>* cached = nullptr;
  };

  // Channels of `second` (a previous stage's segmentation) follow those of `first`; it may have no facts. A file is
  // asked of `files` only where something of it is not in the cache.
  void open(SampleFiles& files, const File& first, const File& second, const Box& window, bool check_finite,
            sample::Activity& activity) {
    files_ = &files;
    activity_ = &activity;
    first_ = first;
    second_ = second;
    window_ = window;
    shape_ = window.shape();
    check_finite_ = check_finite;
    reading_time_ = {};
  }

  std::int64_t channels() const override {
    return first_.facts->channels + (second_.facts != nullptr ? second_.facts->channels : 0);
  }
  const Index3& shape() const override { return shape_; }

  Box content() const override {
    return base::relative_to(window_.lower, window_.intersect(Box::of_shape(first_.facts->shape)));
  }
  T filling() const override { return kOutsideImage<T>; }

  void read(std::int64_t channel, const Box& box, T* out) override {
    const Reading reading(*this);
    const File& file = of_channel(channel).first;
    const std::int64_t number = of_channel(channel).second;
    const Box in_image = box.shifted(window_.lower);
    const Box inner = in_image.intersect(Box::of_shape(file.facts->shape));
    if (provide(file, number, inner)) {
      file.cached->copy(number, in_image, out, kOutsideImage<T>);
      return;
    }
    if (file.cached != nullptr && number == 0) file.cached->missed(inner);
    files_->patiently([&] {
      Volume& volume = files_->volume(file.which);
      volume.fetch(inner);
      volume.read(number, in_image, out, kOutsideImage<T>);
    });
    if (check_finite_) require_finite(file, number, sample::SourceView<T>::dense(out, in_image));
  }

  sample::SourceView<T> view(std::int64_t channel, const Box& box) override {
    const Reading reading(*this);
    auto [file, number] = of_channel(channel);
    const Box in_image = box.shifted(window_.lower);
    if (in_image.empty() || !base::contains(Box::of_shape(file.facts->shape), in_image)) return {};
    if (!provide(file, number, in_image)) return {};
    const Steps steps = file.cached->steps();
    return {file.cached->at(number, in_image.lower), box, steps.plane, steps.row};
  }

  std::chrono::nanoseconds reading_time() const override { return reading_time_; }

 private:
  // Counts time as spent on reading for as long as it lives.
  class Reading {
   public:
    explicit Reading(WindowSource& source) : source_(source), asking_(source.activity_->enter(source.stage_)) {}
    ~Reading() {
      source_.reading_time_ += watch_.read();
      source_.activity_->enter(asking_);
    }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    WindowSource& source_;
    Stopwatch watch_;
    std::string_view asking_;
  };

  // The file of a channel, and the channel's number in it.
  std::pair<const File&, std::int64_t> of_channel(std::int64_t channel) const {
    const std::int64_t first = first_.facts->channels;
    return channel < first ? std::pair<const File&, std::int64_t>(first_, channel)
                           : std::pair<const File&, std::int64_t>(second_, channel - first);
  }

  // Whether `box` of the image, which lies in it, is in the cache now.
  bool provide(const File& file, std::int64_t channel, const Box& box) {
    // A block has all channels, so the first one's are counted.
    if (file.cached == nullptr) return false;
    if (!file.cached->has(box, channel == 0)) {
      const bool provided = files_->patiently([&] {
        if (!file.cached->has_place()) return false;
        Volume& volume = files_->volume(file.which);
        // Before a block is another thread's to wait for.
        volume.fetch(box);
        return file.cached->provide(volume, box, channel == 0);
      });
      if (!provided) return false;
    }
    if (check_finite_ && !box.empty() && !file.cached->finite(box)) {
      const Steps steps = file.cached->steps();
      require_finite(file, channel, {file.cached->at(channel, box.lower), box, steps.plane, steps.row});
    }
    return true;
  }

  void require_finite(const File& file, std::int64_t channel, const sample::SourceView<T>& view) {
    if constexpr (std::is_same_v<T, float>) {
      const Index3 shape = view.box.shape();
      for (std::int64_t x = 0; x < shape[0]; ++x)
        for (std::int64_t y = 0; y < shape[1]; ++y)
          for (std::int64_t z = 0; z < shape[2]; ++z) {
            const float value = view.data[x * view.plane_step + y * view.row_step + z];
            if (std::isfinite(value)) continue;
            const auto at = [&](int axis, std::int64_t offset) {
              return std::to_string(view.box.lower[axis] + offset);
            };
            throw StorageError(files_->name(file.which), "expected finite voxels, got " + std::to_string(value) +
                                                             " in channel " + std::to_string(channel) + " at (" +
                                                             at(0, x) + ", " + at(1, y) + ", " + at(2, z) + ")");
          }
    }
  }

  std::string_view stage_;
  SampleFiles* files_ = nullptr;
  sample::Activity* activity_ = nullptr;
  File first_;
  File second_;
  Box window_;
  Index3 shape_{};
  bool check_finite_ = false;
  std::chrono::nanoseconds reading_time_{};
};

}  // namespace fastnnunet::engine
