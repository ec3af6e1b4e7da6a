// What most intensity transforms share: each channel is chosen with a probability, and the chosen ones have a value
// each or all the same one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::transforms {

struct ChannelValues : Parameters {
  std::vector<std::int64_t> channels;  // the chosen ones
  std::vector<double> values;          // one for each of these
};

inline void draw_channels(random::Stream& stream, std::int64_t channels, double probability,
                          std::vector<std::int64_t>& chosen) {
  chosen.clear();
  for (std::int64_t channel = 0; channel < channels; ++channel)
    if (stream.bernoulli(probability)) chosen.push_back(channel);
}

inline void draw_values(random::Stream& stream, const Geometry& geometry, const Scalar& scalar, bool synchronize,
                        const std::vector<std::int64_t>& chosen, std::vector<double>& values) {
  values.clear();
  if (chosen.empty()) return;
  if (synchronize) {
    values.assign(chosen.size(), scalar.draw(stream, {geometry, std::nullopt, std::nullopt}));
  } else {
    for (const std::int64_t channel : chosen) values.push_back(scalar.draw(stream, {geometry, channel, std::nullopt}));
  }
}

// 0 or 1 for each channel.
inline void draw_flags(random::Stream& stream, std::int64_t channels, double probability,
                       std::vector<std::int64_t>& flags) {
  flags.clear();
  for (std::int64_t channel = 0; channel < channels; ++channel) flags.push_back(stream.bernoulli(probability));
}

inline bool any_flag(const std::vector<std::int64_t>& flags) {
  return std::find(flags.begin(), flags.end(), 1) != flags.end();
}

inline Record::Numbers to_numbers(const std::vector<std::int64_t>& whole) { return {whole.begin(), whole.end()}; }

// Of a channel number that may count from the end, the one from the start.
inline std::int64_t from_start(std::int64_t channel, std::int64_t channels) {
  return channel < 0 ? channel + channels : channel;
}

// The same, checked. Throws InvalidArgument where there is none such.
std::int64_t resolve_channel(std::string_view owner, const char* name, std::int64_t channel, std::int64_t channels);

// Channel numbers of a replay, checked against the image.
std::vector<std::int64_t> restore_channels(const Record& record, const char* name, const Geometry& geometry);

// Values of a replay, one for each of these channels.
const Record::Numbers& restore_chosen(const Record& record, const char* name,
                                      const std::vector<std::int64_t>& channels);

// The same for values that are 0 or 1.
std::vector<std::int64_t> restore_chosen_flags(const Record& record, const char* name,
                                               const std::vector<std::int64_t>& channels);

// Values of a replay, one for each channel of the image.
const Record::Numbers& restore_per_channel(const Record& record, const char* name, const Geometry& geometry);
// The same for values that are 0 or 1.
std::vector<std::int64_t> restore_flags(const Record& record, const char* name, const Geometry& geometry);

}  // namespace fastnnunet::transforms
