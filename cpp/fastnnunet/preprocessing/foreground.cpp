#include "fastnnunet/preprocessing/foreground.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/preprocessing/legacy_random.h"

namespace fastnnunet::preprocessing {

namespace {

// int16 holds it exactly, and its sign where it is 0.
bool is_whole(float value) {
  if (!(value >= -32768.0f && value <= 32767.0f)) return false;
  return static_cast<float>(static_cast<std::int16_t>(value)) == value && !(value == 0.0f && std::signbit(value));
}

}  // namespace

template <typename T>
std::int64_t draw_foreground(const float* image, std::int64_t channels, const T* labels, const Index3& shape,
                             std::uint32_t seed, std::int64_t samples, const std::function<Drawn(bool)>& place) {
  const std::int64_t count = voxels(shape);
  if (count > std::numeric_limits<std::uint32_t>::max())
    throw InvalidArgument("labels", "fewer than 2^32 voxels", std::to_string(count));
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < count; ++i) found += labels[i] > 0;
  if (found == 0) return 0;
  platform::Buffer buffer;
  float* values = buffer.reserve<float>(static_cast<std::size_t>(found));
  LegacyRandom random(seed);
  for (std::int64_t c = 0; c < channels; ++c, image += count) {
    float* next = values;
    for (std::int64_t i = 0; i < count; ++i)
      if (labels[i] > 0) *next++ = image[i];
    const Drawn out = place(std::all_of(values, next, is_whole));
    const auto draw = [&](auto* to) {
      random.many_upto(static_cast<std::uint32_t>(found - 1), samples, [&](std::uint32_t index) {
        *to++ = static_cast<std::remove_pointer_t<decltype(to)>>(values[index]);
      });
    };
    if (out.whole != nullptr)
      draw(out.whole);
    else
      draw(out.values);
  }
  return found;
}

template std::int64_t draw_foreground(const float*, std::int64_t, const std::int16_t*, const Index3&, std::uint32_t,
                                      std::int64_t, const std::function<Drawn(bool)>&);
template std::int64_t draw_foreground(const float*, std::int64_t, const float*, const Index3&, std::uint32_t,
                                      std::int64_t, const std::function<Drawn(bool)>&);

}  // namespace fastnnunet::preprocessing
