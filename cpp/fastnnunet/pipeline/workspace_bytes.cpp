// The plan is gone through as a sample goes through it, and arrays are placed by the sample's own rules
// (sample/memory/placement.h). Transforms may fire or not, so an array may lie in several places; each of them counts.
#include "fastnnunet/pipeline/workspace_bytes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "fastnnunet/sample/memory/placement.h"
#include "fastnnunet/transforms/utils/deep_supervision_downsampling.h"

namespace fastnnunet::pipeline {
namespace {

// The places where an array may lie, and the memory of those two that are the workspace's.
class Places {
 public:
  explicit Places(std::size_t of_batch) : of_batch_(of_batch), possible_(of_batch + sample::kBatch + 1, false) {
    possible_[index(sample::kNowhere)] = true;
  }

  // The voxels are read, where they have not been.
  template <typename Fits>
  void read(std::size_t bytes, const Fits& fits) {
    if (possible_[index(sample::kNowhere)]) take(sample::kNowhere, bytes, fits);
  }

  // A new array, beside wherever the present one lies; or, where it only grows, in the batch's room behind it.
  template <typename Fits>
  void make(std::size_t bytes, const Fits& fits, bool grows = false) {
    const std::vector<bool> before = possible_;
    for (sample::MemoryPlace place = sample::kNowhere;
         place < sample::kBatch + static_cast<sample::MemoryPlace>(of_batch_); ++place) {
      const bool stays = grows && place >= sample::kBatch && fits(static_cast<std::size_t>(place - sample::kBatch));
      if (before[index(place)] && !stays) take(place, bytes, fits);
    }
  }

  bool possible(sample::MemoryPlace place) const { return possible_[index(place)]; }
  std::size_t bytes() const {
    return platform::Buffer::rounded(held_[sample::kFirst]) + platform::Buffer::rounded(held_[sample::kSecond]);
  }

 private:
  static std::size_t index(sample::MemoryPlace place) { return static_cast<std::size_t>(place - sample::kNowhere); }

  template <typename Fits>
  void take(sample::MemoryPlace present, std::size_t bytes, const Fits& fits) {
    const sample::MemoryPlace place = sample::place_beside(present, of_batch_, fits);
    possible_[index(place)] = true;
    if (place < sample::kBatch)
      held_[static_cast<std::size_t>(place)] = std::max(held_[static_cast<std::size_t>(place)], bytes);
  }

  std::size_t of_batch_;
  std::vector<bool> possible_;
  std::array<std::size_t, 2> held_{};
};

std::size_t image_bytes(const Geometry& g) {
  return static_cast<std::size_t>(voxels(g.shape) * g.image_channels) * sizeof(float);
}
std::size_t label_bytes(const Geometry& g, std::size_t each = sizeof(std::int16_t)) {
  return static_cast<std::size_t>(voxels(g.shape) * g.segmentation_channels) * each;
}

// How much more there is than native transforms account for: of transforms in Python only the result is known.
struct Unforeseen {
  std::int64_t image_channels = 0;
  std::int64_t segmentation_channels = 0;
  Index3 shape{};  // at least
  bool regions = false;

  Geometry added_to(const Geometry& geometry) const {
    Geometry more = geometry;
    const std::int64_t planes = std::max<std::int64_t>(geometry.planes, 1);
    more.image_channels += image_channels * planes;
    more.segmentation_channels += segmentation_channels * planes;
    for (std::size_t axis = geometry.planes > 0 ? 1 : 0; axis < 3; ++axis)
      more.shape[axis] = std::max(more.shape[axis], shape[axis]);
    return more;
  }
};

Unforeseen unforeseen(std::span<const Plan::Step> steps, const Geometry& geometry, const Layout& layout) {
  Geometry last = geometry;
  Unforeseen more;
  bool regions = false;
  for (const Plan::Step& step : steps) {
    last = step.transform->after(last);
    regions = regions || step.transform->traits().makes_regions;
  }
  more.image_channels = std::max<std::int64_t>(layout.image_channels - last.image_channels, 0);
  for (const auto& target : layout.targets) {
    more.segmentation_channels = std::max(more.segmentation_channels, target.channels - last.segmentation_channels);
    more.regions = more.regions || (target.type == TargetType::boolean && !regions);
  }
  if (layout.image_shape != last.shape) more.shape = layout.image_shape;
  return more;
}

}  // namespace

std::size_t workspace_bytes(std::span<const Plan::Step> steps, const Geometry& geometry, const Layout& layout) {
  const auto form_of_target = [&](std::size_t i) {
    return sample::Form{layout.targets[i].channels, layout.targets[i].shape};
  };
  const auto image_at = [&](const Geometry& g) {
    return [&layout, form = sample::Form{g.image_channels, g.shape, g.planes > 0}](std::size_t) {
      return sample::fits_image({layout.image_channels, layout.image_shape}, form);
    };
  };
  const auto labels_at = [&](const Geometry& g) {
    return [&, form = sample::Form{g.segmentation_channels, g.shape, g.planes > 0}](std::size_t i) {
      return sample::fits_labels(layout.targets[i].type, form_of_target(i), form);
    };
  };

  Places image(1), labels(layout.targets.size());
  sample::Workspace::ScratchSizes scratch{};
  std::size_t rooms = 0, python = 0, regions = 0, other_regions = 0;
  std::vector<std::size_t> targets;
  std::optional<Unforeseen> more;  // from the first transform in Python on
  bool as_regions = false;
  Geometry at = geometry;
  for (const Plan::Step& step : steps) {
    const transforms::Transform* transform = step.transform;
    if (step.state == Plan::State::idle && !step.may_be_stood_in) {
      at = transform->after(at);
      continue;
    }
    const sample::Workspace::ScratchSizes needed = transform->scratch_bytes(at);
    for (std::size_t i = 0; i < scratch.size(); ++i) scratch[i] = std::max(scratch[i], needed[i]);
    rooms += transform->room_bytes(at);

    Geometry next = transform->after(at);
    const transforms::Traits traits = transform->traits();
    using Room = transforms::Traits::Room;
    const bool folds = next.planes != at.planes;
    if (!folds && traits.image.touches() && traits.image.room != Room::anew) image.read(image_bytes(at), image_at(at));
    if (!folds && traits.labels.touches() && traits.labels.room != Room::anew)
      labels.read(label_bytes(at), labels_at(at));
    if (!traits.native) {
      if (!more) {
        more = unforeseen(steps, geometry, layout);
        next = more->added_to(next);
      }
      // What comes back from Python is memory of Python's, until it has been copied.
      python = std::max(python, image_bytes(next) + label_bytes(next));
      image.make(image_bytes(next), image_at(next));
      labels.make(label_bytes(next), labels_at(next));
      if (as_regions || more->regions)
        other_regions = std::max(other_regions, platform::Buffer::rounded(label_bytes(next, 1)));
    }
    if (traits.image.room != Room::in_place)
      image.make(image_bytes(next), image_at(next), traits.image.room == Room::behind && next.planes == 0);
    if (traits.labels.room != Room::in_place) labels.make(label_bytes(next), labels_at(next));
    if (traits.makes_regions) {
      as_regions = true;
      bool in_batch = false;
      for (std::size_t i = 0; i < layout.targets.size(); ++i)
        in_batch = in_batch || sample::fits_regions(layout.targets[i].type, form_of_target(i),
                                                    {next.segmentation_channels, next.shape});
      if (!in_batch) regions = std::max(regions, platform::Buffer::rounded(label_bytes(next, 1)));
    }
    if (const Record::Rows* scales = traits.target_scales) {
      const TargetType type = as_regions ? TargetType::boolean : TargetType::int16;
      targets.resize(std::max(targets.size(), scales->size()), 0);
      for (std::size_t i = 0; i < scales->size(); ++i) {
        if (transforms::is_full_scale((*scales)[i])) continue;
        const sample::Form made{at.segmentation_channels,
                                transforms::downsampled_shape(at.shape, at.dims, (*scales)[i])};
        const bool in_batch = i < layout.targets.size() &&
                              sample::fits_target(layout.targets[i].type, form_of_target(i), type, made) &&
                              !labels.possible(sample::kBatch + static_cast<sample::MemoryPlace>(i));
        if (!in_batch) targets[i] = std::max(targets[i], static_cast<std::size_t>(made.size()) * element_bytes(type));
      }
    }
    at = next;
  }
  image.read(image_bytes(at), image_at(at));
  labels.read(label_bytes(at), labels_at(at));
  std::size_t held = image.bytes() + labels.bytes() + regions + 2 * other_regions + rooms + python;
  for (const std::size_t bytes : targets) held += platform::Buffer::rounded(bytes);
  for (const std::size_t bytes : scratch) held += platform::Buffer::rounded(bytes);
  return held;
}

}  // namespace fastnnunet::pipeline
