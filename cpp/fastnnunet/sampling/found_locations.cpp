#include "fastnnunet/sampling/found_locations.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <sstream>

#include "fastnnunet/base/box.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/random/stream.h"

namespace fastnnunet::sampling {
namespace {

constexpr std::uint64_t kSeed = 1234;              // as nnU-Net's preprocessing has
constexpr std::uint64_t kMost = 10'000;            // voxels of a class
constexpr std::uint64_t kShare = 100;              // but at least one in so many
constexpr std::int64_t kAtOnce = 2 * 1024 * 1024;  // voxels in memory
constexpr std::size_t kValues = 1u << 16;          // of int16

std::size_t index_of(std::int16_t label) { return static_cast<std::uint16_t>(label); }

// Every slab of planes along X that memory is taken for, in order: `take` gets its box and the labels.
void each_slab(Volume& volume, std::vector<std::int16_t>& labels,
               const std::function<void(const Box&, const std::vector<std::int16_t>&)>& take) {
  const Index3& shape = volume.shape();
  const std::int64_t plane = shape[1] * shape[2];
  const std::int64_t planes = std::clamp<std::int64_t>(kAtOnce / plane, 1, shape[0]);
  for (std::int64_t x = 0; x < shape[0]; x += planes) {
    const Box box{{x, 0, 0}, {std::min(x + planes, shape[0]), shape[1], shape[2]}};
    labels.resize(static_cast<std::size_t>(voxels(box.shape())));
    volume.read(0, box, labels.data(), std::int16_t{0});
    take(box, labels);
  }
}

// Throws StorageError for a value of the box that int16 does not hold: reading labels would change it and say nothing.
void require_labels(Volume& volume, const Box& box, const std::vector<std::int16_t>& labels,
                    std::vector<float>& values) {
  values.resize(labels.size());
  volume.read(0, box, values.data(), 0.0f);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (values[i] == static_cast<float>(labels[i])) continue;
    std::ostringstream found;
    found << values[i];
    throw StorageError(volume.file(), "expected labels, whole numbers from -32768 to 32767, got " + found.str());
  }
}

// Draws `wanted` of `count` voxels as they pass by (Knuth's algorithm S).
struct Draw {
  random::Stream stream;
  std::uint64_t count, wanted;

  bool takes_next() {
    const bool taken = wanted == count || (wanted > 0 && stream.below(count) < wanted);
    --count;
    if (taken) --wanted;
    return taken;
  }
};

}  // namespace

std::vector<FoundClass> find_class_locations(Volume& segmentation,
                                             const std::optional<std::vector<std::vector<std::int64_t>>>& classes,
                                             std::optional<std::int64_t> ignored) {
  std::vector<std::int16_t> labels;
  std::vector<std::uint64_t> counts(kValues);
  std::vector<float> values;
  each_slab(segmentation, labels, [&](const Box& box, const std::vector<std::int16_t>& slab) {
    require_labels(segmentation, box, slab, values);
    for (const std::int16_t label : slab) ++counts[index_of(label)];
  });

  std::vector<FoundClass> found;
  if (classes) {
    for (const auto& of : *classes) found.push_back({of, false, {}});
  } else {
    for (std::int64_t label = 1; label <= std::numeric_limits<std::int16_t>::max(); ++label)
      if (label != ignored && counts[index_of(static_cast<std::int16_t>(label))] > 0)
        found.push_back({{label}, false, {}});
  }
  if (ignored) found.push_back({{-1}, true, {}});

  // Which classes a voxel of a label belongs to.
  std::vector<std::vector<std::size_t>> belongs(kValues);
  std::vector<Draw> draws;
  for (std::size_t number = 0; number < found.size(); ++number) {
    std::uint64_t count = 0;
    const auto add = [&](std::int64_t label) {
      if (label < std::numeric_limits<std::int16_t>::min() || label > std::numeric_limits<std::int16_t>::max()) return;
      const std::size_t at = index_of(static_cast<std::int16_t>(label));
      if (counts[at] == 0 || (!belongs[at].empty() && belongs[at].back() == number)) return;
      belongs[at].push_back(number);
      count += counts[at];
    };
    if (found[number].is_annotated) {
      for (std::int64_t label = std::numeric_limits<std::int16_t>::min();
           label <= std::numeric_limits<std::int16_t>::max(); ++label)
        if (label != *ignored) add(label);
    } else {
      for (const std::int64_t label : found[number].labels) add(label);
    }
    const std::uint64_t wanted = std::max(std::min(kMost, count), (count + kShare - 1) / kShare);
    found[number].voxels.reserve(static_cast<std::size_t>(3 * wanted));
    draws.push_back({random::Stream({kSeed, 0, 0, 0, 0, 0}, static_cast<std::uint32_t>(number)), count, wanted});
  }

  const Index3& shape = segmentation.shape();
  each_slab(segmentation, labels, [&](const Box& box, const std::vector<std::int16_t>& slab) {
    for (std::size_t at = 0; at < slab.size(); ++at) {
      for (const std::size_t number : belongs[index_of(slab[at])]) {
        if (!draws[number].takes_next()) continue;
        const auto linear = static_cast<std::int64_t>(at);
        found[number].voxels.insert(found[number].voxels.end(), {box.lower[0] + linear / (shape[1] * shape[2]),
                                                                 linear / shape[2] % shape[1], linear % shape[2]});
      }
    }
  });
  return found;
}

}  // namespace fastnnunet::sampling
