// A transform knows its parameters, how they are drawn and how they are applied. Drawing comes first, for all
// transforms of a sample, and sees no voxel; applying sees no random stream except for fields (noise).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fastnnunet/random/stream.h"
#include "fastnnunet/sample/sample.h"
#include "fastnnunet/transforms/record.h"

namespace fastnnunet {

// The parameters of one application. Kept and filled again for every sample.
struct Parameters {
  virtual ~Parameters() = default;
};

class Transform {
 public:
  virtual ~Transform() = default;

  virtual std::string_view name() const = 0;
  virtual bool native() const { return true; }
  virtual std::unique_ptr<Parameters> new_parameters() const = 0;
  virtual void draw(Stream& stream, const Geometry& geometry, Parameters& parameters) const = 0;
  // False where these parameters change nothing: the transform is then not applied.
  virtual bool acts(const Parameters&) const { return true; }
  // True where it neither looks at the segmentation nor changes it.
  virtual bool only_image() const { return false; }
  // True where it works on regions as it does on labels.
  virtual bool takes_regions() const { return false; }
  // True where a regression target goes through the transform as an image does: those that move voxels.
  virtual bool moves_voxels() const { return false; }
  // Of which it makes no difference to the result whether they are turned around before the transform or after it.
  struct Indifferent {
    bool image = false;
    bool labels = false;
  };
  virtual Indifferent indifferent_to_flips() const { return {}; }
  // How these parameters turn a sample around; for mirrors only.
  virtual Flips flips(const Parameters&, int /*dims*/) const { return {}; }
  // True where apply() does what Sample::expect_flips() asks for.
  virtual bool writes_flipped() const { return false; }
  // Shape and channels after the transform; the same for all parameters.
  virtual Geometry after(const Geometry& geometry) const { return geometry; }
  virtual void apply(Sample& sample, const Parameters& parameters, const Stream& field) const = 0;

  // What apply() asks the sample to make room for, so that the budget counts it (Pipeline::workspace_bytes).
  struct Makes {
    enum class Room : std::uint8_t {
      none,    // works in place
      anew,    // new_image, new_segmentation, of what may not have been read yet
      behind,  // more channels behind those that are there
    };
    Room image = Room::none;
    Room labels = Room::none;
    bool regions = false;  // new_regions: from here on the labels are regions
  };
  virtual Makes makes() const { return {}; }
  // The scales of deep supervision that the labels become a list of; null for any other transform.
  virtual const Record::Rows* target_scales() const { return nullptr; }

  // Parameters under batchgeneratorsv2's names, out of the core and into it (replay).
  virtual Record describe(const Parameters& parameters) const = 0;
  virtual void restore(const Record& record, const Geometry& geometry, Parameters& parameters) const = 0;

  // Working memory beside image and segmentation: an upper bound for each of the workspace's scratch buffers.
  virtual Workspace::ScratchSizes scratch_bytes(const Geometry&) const { return {}; }
  // And for what every thread that helps takes of platform/thread_room.h.
  virtual std::size_t room_bytes(const Geometry&) const { return 0; }
};

// Takes the cast from the base of the parameters off every transform.
template <typename P>
class TransformOf : public Transform {
 public:
  std::unique_ptr<Parameters> new_parameters() const final { return std::make_unique<P>(); }
  void draw(Stream& stream, const Geometry& geometry, Parameters& parameters) const final {
    draw(stream, geometry, static_cast<P&>(parameters));
  }
  bool acts(const Parameters& parameters) const final { return acts(static_cast<const P&>(parameters)); }
  Flips flips(const Parameters& parameters, int dims) const final {
    return flips(static_cast<const P&>(parameters), dims);
  }
  void apply(Sample& sample, const Parameters& parameters, const Stream& field) const final {
    apply(sample, static_cast<const P&>(parameters), field);
  }
  Record describe(const Parameters& parameters) const final { return describe(static_cast<const P&>(parameters)); }
  void restore(const Record& record, const Geometry& geometry, Parameters& parameters) const final {
    restore(record, geometry, static_cast<P&>(parameters));
  }

 protected:
  virtual void draw(Stream& stream, const Geometry& geometry, P& parameters) const = 0;
  virtual bool acts(const P&) const { return true; }
  virtual Flips flips(const P&, int /*dims*/) const { return {}; }
  virtual void apply(Sample& sample, const P& parameters, const Stream& field) const = 0;
  virtual Record describe(const P& parameters) const = 0;
  virtual void restore(const Record& record, const Geometry& geometry, P& parameters) const = 0;
};

// For transforms that neither look at the segmentation nor change it.
template <typename P>
class ImageTransformOf : public TransformOf<P> {
 public:
  bool only_image() const override { return true; }
  Transform::Indifferent indifferent_to_flips() const override { return {.image = false, .labels = true}; }
};

// The one table of native transforms: batchgeneratorsv2's class name to a function that makes it from its attributes.
using TransformFactory = std::unique_ptr<Transform> (*)(const Record& attributes);
struct TransformEntry {
  std::string_view name;
  TransformFactory make;
};
const std::vector<TransformEntry>& transform_table();
// Throws InvalidArgument for a name that is not in the table.
std::unique_ptr<Transform> make_transform(std::string_view name, const Record& attributes);

}  // namespace fastnnunet
