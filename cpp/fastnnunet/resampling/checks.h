// What resizing asks of sizes and options.
#pragma once

#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/text.h"
#include "fastnnunet/resampling/resize.h"

namespace fastnnunet::resampling {

inline void check_sizes(const char* place, const Index3& from, const Index3& to) {
  for (const Index3& shape : {from, to})
    for (const std::int64_t size : shape)
      // Positions along an axis are 32-bit numbers.
      if (size < 1 || size > (std::int64_t{1} << 30))
        throw InvalidArgument(place, "sizes from 1 to 2^30", base::text(shape));
}

inline void check_axis(const char* place, int separate) {
  if (separate < -1 || separate > 2) throw InvalidArgument(place, "axis None, 0, 1 or 2", std::to_string(separate));
}

}  // namespace fastnnunet::resampling
