// What a thread holds for a sample, known before there is one: the tree is gone through as a sample goes through it,
// and arrays are placed by the sample's own rules (sample/placement.h). Transforms may fire or not, so an array may
// lie in several places; each of them counts.
#include <algorithm>
#include <array>
#include <vector>

#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/sample/placement.h"
#include "fastnnunet/transforms/utils/deep_supervision_downsampling.h"

namespace fastnnunet {
namespace {

// The places where an array may lie, and the memory of those two that are the workspace's.
class Places {
 public:
  explicit Places(std::size_t of_batch) : of_batch_(of_batch), possible_(of_batch + kBatch + 1, false) {
    possible_[index(kNowhere)] = true;
  }

  // The voxels are read, where they have not been.
  template <typename Fits>
  void read(std::size_t bytes, const Fits& fits) {
    if (possible_[index(kNowhere)]) take(kNowhere, bytes, fits);
  }

  // A new array, beside wherever the present one lies; or, where it only grows, in the batch's room behind it.
  template <typename Fits>
  void make(std::size_t bytes, const Fits& fits, bool grows = false) {
    const std::vector<bool> before = possible_;
    for (MemoryPlace place = kNowhere; place < kBatch + static_cast<MemoryPlace>(of_batch_); ++place) {
      const bool stays = grows && place >= kBatch && fits(static_cast<std::size_t>(place - kBatch));
      if (before[index(place)] && !stays) take(place, bytes, fits);
    }
  }

  bool possible(MemoryPlace place) const { return possible_[index(place)]; }
  std::size_t bytes() const { return Buffer::rounded(held_[kFirst]) + Buffer::rounded(held_[kSecond]); }

 private:
  static std::size_t index(MemoryPlace place) { return static_cast<std::size_t>(place - kNowhere); }

  template <typename Fits>
  void take(MemoryPlace present, std::size_t bytes, const Fits& fits) {
    const MemoryPlace place = place_beside(present, of_batch_, fits);
    possible_[index(place)] = true;
    if (place < kBatch)
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

Unforeseen unforeseen(const std::vector<const Transform*>& leaves, const Geometry& geometry, const Layout& layout) {
  Geometry last = geometry;
  Unforeseen more;
  bool regions = false;
  for (const Transform* transform : leaves) {
    last = transform->after(last);
    regions = regions || transform->makes().regions;
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

std::size_t Pipeline::workspace_bytes(const Geometry& geometry, const Layout& layout) const {
  const auto form_of_target = [&](std::size_t i) { return Form{layout.targets[i].channels, layout.targets[i].shape}; };
  const auto image_at = [&](const Geometry& g) {
    return [&layout, form = Form{g.image_channels, g.shape, g.planes > 0}](std::size_t) {
      return fits_image({layout.image_channels, layout.image_shape}, form);
    };
  };
  const auto labels_at = [&](const Geometry& g) {
    return [&, form = Form{g.segmentation_channels, g.shape, g.planes > 0}](std::size_t i) {
      return fits_labels(layout.targets[i].type, form_of_target(i), form);
    };
  };

  Places image(1), labels(layout.targets.size());
  const auto read = [&](const Geometry& g, bool with_labels) {
    image.read(image_bytes(g), image_at(g));
    if (with_labels) labels.read(label_bytes(g), labels_at(g));
  };
  Workspace::ScratchSizes scratch{};
  std::size_t rooms = 0, python = 0, regions = 0, other_regions = 0;
  std::vector<std::size_t> targets;
  std::optional<Unforeseen> more;  // from the first transform in Python on
  bool as_regions = false;
  Geometry at = geometry;
  for (const Transform* transform : leaves_) {
    const Workspace::ScratchSizes needed = transform->scratch_bytes(at);
    for (std::size_t i = 0; i < scratch.size(); ++i) scratch[i] = std::max(scratch[i], needed[i]);
    rooms += transform->room_bytes(at);

    Geometry next = transform->after(at);
    const Transform::Makes makes = transform->makes();
    using Room = Transform::Makes::Room;
    const bool folds = next.planes != at.planes;
    if (!folds && makes.image != Room::anew) read(at, !transform->only_image());
    if (!transform->native()) {
      if (!more) {
        more = unforeseen(leaves_, geometry, layout);
        next = more->added_to(next);
      }
      // What comes back from Python is memory of Python's, until it has been copied.
      python = std::max(python, image_bytes(next) + label_bytes(next));
      image.make(image_bytes(next), image_at(next));
      labels.make(label_bytes(next), labels_at(next));
      if (as_regions || more->regions) other_regions = std::max(other_regions, Buffer::rounded(label_bytes(next, 1)));
    }
    if (makes.image != Room::none)
      image.make(image_bytes(next), image_at(next), makes.image == Room::behind && next.planes == 0);
    if (makes.labels != Room::none) labels.make(label_bytes(next), labels_at(next));
    if (makes.regions) {
      as_regions = true;
      bool in_batch = false;
      for (std::size_t i = 0; i < layout.targets.size(); ++i)
        in_batch = in_batch ||
                   fits_regions(layout.targets[i].type, form_of_target(i), {next.segmentation_channels, next.shape});
      if (!in_batch) regions = std::max(regions, Buffer::rounded(label_bytes(next, 1)));
    }
    if (const Record::Rows* scales = transform->target_scales()) {
      const TargetType type = as_regions ? TargetType::boolean : TargetType::int16;
      targets.resize(std::max(targets.size(), scales->size()), 0);
      for (std::size_t i = 0; i < scales->size(); ++i) {
        if (is_full_scale((*scales)[i])) continue;
        const Form made{at.segmentation_channels, downsampled_shape(at.shape, at.dims, (*scales)[i])};
        const bool in_batch = i < layout.targets.size() &&
                              fits_target(layout.targets[i].type, form_of_target(i), type, made) &&
                              !labels.possible(kBatch + static_cast<MemoryPlace>(i));
        if (!in_batch) targets[i] = std::max(targets[i], static_cast<std::size_t>(made.size()) * element_bytes(type));
      }
    }
    at = next;
  }
  read(at, true);
  std::size_t held = image.bytes() + labels.bytes() + regions + 2 * other_regions + rooms + python;
  for (const std::size_t bytes : targets) held += Buffer::rounded(bytes);
  for (const std::size_t bytes : scratch) held += Buffer::rounded(bytes);
  return held;
}

}  // namespace fastnnunet
