#include "fastnnunet/preprocessing/locations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/buffer.h"
#include "fastnnunet/preprocessing/legacy_random.h"

namespace fastnnunet::preprocessing {

namespace {

constexpr std::size_t kLabels = std::size_t{1} << 16;

std::size_t slot_of(std::int16_t label) { return static_cast<std::uint16_t>(label); }

bool is_label(int label) {
  return label >= std::numeric_limits<std::int16_t>::min() && label <= std::numeric_limits<std::int16_t>::max();
}

// The voxels of some labels, label by label, each in C order (a counting sort).
class VoxelsByLabel {
 public:
  VoxelsByLabel(const std::int16_t* labels, std::int64_t count, const std::vector<std::vector<int>>& classes)
      : begin_(kLabels + 1), wanted_(kLabels) {
    for (const std::vector<int>& of_class : classes)
      for (const int label : of_class)
        if (is_label(label)) wanted_[slot_of(static_cast<std::int16_t>(label))] = 1;
    for (std::int64_t i = 0; i < count; ++i) ++begin_[slot_of(labels[i]) + 1];
    for (std::size_t slot = 0; slot < kLabels; ++slot)
      begin_[slot + 1] = begin_[slot] + (wanted_[slot] != 0 ? begin_[slot + 1] : 0);
    voxels_ = buffer_.reserve<std::uint32_t>(std::max<std::size_t>(1, begin_[kLabels]));
    std::vector<std::size_t> next(begin_.begin(), begin_.end() - 1);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::size_t slot = slot_of(labels[i]);
      if (wanted_[slot] != 0) voxels_[next[slot]++] = static_cast<std::uint32_t>(i);
    }
  }

  std::size_t count(int label) const {
    if (!is_label(label)) return 0;
    const std::size_t slot = slot_of(static_cast<std::int16_t>(label));
    return begin_[slot + 1] - begin_[slot];
  }

  const std::uint32_t* voxels(int label) const { return voxels_ + begin_[slot_of(static_cast<std::int16_t>(label))]; }

 private:
  std::vector<std::size_t> begin_;
  std::vector<std::uint8_t> wanted_;
  platform::Buffer buffer_;
  std::uint32_t* voxels_ = nullptr;
};

}  // namespace

std::vector<std::vector<std::int64_t>> sample_locations(const std::int16_t* labels, const Index3& shape,
                                                        const std::vector<std::vector<int>>& classes,
                                                        const LocationOptions& options) {
  const std::int64_t count = voxels(shape);
  if (count > std::numeric_limits<std::uint32_t>::max())
    throw InvalidArgument("labels", "fewer than 2^32 voxels", std::to_string(count));
  const VoxelsByLabel by_label(labels, count, classes);
  LegacyRandom random(options.seed);
  platform::Buffer buffer;
  std::vector<std::vector<std::int64_t>> rows(classes.size());
  for (std::size_t k = 0; k < classes.size(); ++k) {
    // Where the voxels of each label of the class end among those of the class.
    std::vector<std::size_t> ends;
    std::vector<int> present;
    std::size_t total = 0;
    for (const int label : classes[k])
      if (const std::size_t found = by_label.count(label)) {
        total += found;
        ends.push_back(total);
        present.push_back(label);
      }
    if (total == 0) continue;
    if (total > std::numeric_limits<std::uint32_t>::max())
      throw InvalidArgument("labels", "fewer than 2^32 voxels of a class", std::to_string(total));
    const auto covered = static_cast<std::int64_t>(std::ceil(static_cast<double>(total) * options.least_coverage));
    const std::int64_t wanted = std::max(std::min(options.least, static_cast<std::int64_t>(total)), covered);
    auto* offsets = buffer.reserve<std::uint32_t>(total);
    std::iota(offsets, offsets + total, 0u);
    random.shuffle(offsets, static_cast<std::uint32_t>(total));
    rows[k].resize(static_cast<std::size_t>(4 * wanted));
    std::int64_t* row = rows[k].data();
    for (std::int64_t i = 0; i < wanted; ++i, row += 4) {
      const std::size_t offset = offsets[i];
      const auto range = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), offset) - ends.begin());
      const std::int64_t voxel = by_label.voxels(present[range])[offset - (range == 0 ? 0 : ends[range - 1])];
      row[0] = 0;
      row[1] = voxel / (shape[1] * shape[2]);
      row[2] = voxel / shape[2] % shape[1];
      row[3] = voxel % shape[2];
    }
  }
  return rows;
}

}  // namespace fastnnunet::preprocessing
