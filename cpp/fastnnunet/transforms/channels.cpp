#include "fastnnunet/transforms/channels.h"

#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet::transforms {

std::int64_t resolve_channel(std::string_view owner, const char* name, std::int64_t channel, std::int64_t channels) {
  if (channel < -channels || channel >= channels)
    throw InvalidArgument(owner, std::string("'") + name + "' below " + std::to_string(channels),
                          std::to_string(channel));
  return from_start(channel, channels);
}

std::vector<std::int64_t> restore_channels(const Record& record, const char* name, const Geometry& geometry) {
  std::vector<std::int64_t> channels = record.integers(name);
  for (std::int64_t& channel : channels)
    channel = resolve_channel(record.owner(), name, channel, geometry.image_channels);
  return channels;
}

const Record::Numbers& restore_chosen(const Record& record, const char* name,
                                      const std::vector<std::int64_t>& channels) {
  const Record::Numbers& values = record.numbers(name);
  if (values.size() != channels.size())
    throw InvalidArgument(
        record.owner(),
        std::string("'") + name + "' for each of " + std::to_string(channels.size()) + " channels that are chosen",
        std::to_string(values.size()));
  return values;
}

namespace {

std::vector<std::int64_t> to_flags(const Record& record, const char* name, const Record::Numbers& values) {
  std::vector<std::int64_t> flags;
  for (const double value : values) {
    if (value != 0.0 && value != 1.0)
      throw InvalidArgument(record.owner(), std::string("'") + name + "' of 0 or 1", std::to_string(value));
    flags.push_back(value != 0.0);
  }
  return flags;
}

}  // namespace

std::vector<std::int64_t> restore_chosen_flags(const Record& record, const char* name,
                                               const std::vector<std::int64_t>& channels) {
  return to_flags(record, name, restore_chosen(record, name, channels));
}

const Record::Numbers& restore_per_channel(const Record& record, const char* name, const Geometry& geometry) {
  const Record::Numbers& values = record.numbers(name);
  if (std::ssize(values) != geometry.image_channels)
    throw InvalidArgument(
        record.owner(),
        std::string("'") + name + "' for each of " + std::to_string(geometry.image_channels) + " channels",
        std::to_string(values.size()));
  return values;
}

std::vector<std::int64_t> restore_flags(const Record& record, const char* name, const Geometry& geometry) {
  return to_flags(record, name, restore_per_channel(record, name, geometry));
}

}  // namespace fastnnunet::transforms
