#include "fastnnunet/transforms/channels.h"

#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet {

std::int64_t resolve_channel(const std::string& owner, const char* name, std::int64_t channel, std::int64_t channels) {
  if (channel < -channels || channel >= channels)
    throw InvalidArgument(owner, std::string("'") + name + "' below " + std::to_string(channels),
                          std::to_string(channel));
  return channel < 0 ? channel + channels : channel;
}

std::vector<std::int64_t> restore_channels(const Record& record, const char* name, const Geometry& geometry) {
  std::vector<std::int64_t> channels = record.integers(name);
  for (std::int64_t& channel : channels)
    channel = resolve_channel(record.owner(), name, channel, geometry.image_channels);
  return channels;
}

}  // namespace fastnnunet
