#include "fastnnunet/transforms/channels.h"

#include <string>

#include "fastnnunet/base/error.h"

namespace fastnnunet {

std::vector<std::int64_t> restore_channels(const Record& record, const char* name, const Geometry& geometry) {
  std::vector<std::int64_t> channels = record.integers(name);
  for (std::int64_t& channel : channels) {
    if (channel < -geometry.image_channels || channel >= geometry.image_channels)
      throw InvalidArgument(record.owner(), std::string("'") + name + "' below " + std::to_string(geometry.image_channels),
                            std::to_string(channel));
    if (channel < 0) channel += geometry.image_channels;
  }
  return channels;
}

}  // namespace fastnnunet
