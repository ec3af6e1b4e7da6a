// Arithmetic that is the same for every voxel of a channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace fastnnunet::sample {

// value * factor + shift.
struct Linear {
  float factor = 1.0f;
  float shift = 0.0f;
  float operator()(float value) const { return value * factor + shift; }
  bool changes() const { return factor != 1.0f || shift != 0.0f; }
  bool operator==(const Linear&) const = default;
  // This one, and `next` after it.
  Linear then(const Linear& next) const { return {factor * next.factor, next(shift)}; }
};

// Does the arithmetic, where it changes anything.
void settle(const Linear& arithmetic, std::span<float> values);

// One for each channel of an image.
class ChannelArithmetic {
 public:
  void clear() { channels_.clear(); }
  // After what the channel has already.
  void add(std::int64_t channel, const Linear& arithmetic) {
    const auto number = static_cast<std::size_t>(channel);
    if (number >= channels_.size()) channels_.resize(number + 1);
    channels_[number] = channels_[number].then(arithmetic);
  }
  // The channel's, which then has none any more.
  Linear take(std::int64_t channel) {
    const auto number = static_cast<std::size_t>(channel);
    return number < channels_.size() ? std::exchange(channels_[number], {}) : Linear{};
  }
  std::int64_t channels() const { return std::ssize(channels_); }

 private:
  std::vector<Linear> channels_;
};

}  // namespace fastnnunet::sample
