// A transform knows its parameters, how they are drawn and how they are applied. Drawing comes first, for all
// transforms of a sample, and sees no voxel; applying sees no random stream except for fields (noise).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fastnnunet/random/stream.h"
#include "fastnnunet/sample/moves/moves.h"
#include "fastnnunet/sample/sample.h"
#include "fastnnunet/transforms/record.h"
#include "fastnnunet/transforms/traits.h"
#include "fastnnunet/transforms/work.h"

namespace fastnnunet::transforms {

// The parameters of one application. Kept and filled again for every sample.
struct Parameters {
  virtual ~Parameters() = default;
};

class Transform {
 public:
  virtual ~Transform() = default;

  virtual std::string_view name() const = 0;
  virtual Traits traits() const = 0;
  // Shape and channels after the transform; the same for all parameters.
  virtual Geometry after(const Geometry& geometry) const { return geometry; }

  virtual std::unique_ptr<Parameters> new_parameters() const = 0;
  virtual void draw(random::Stream& stream, const Geometry& geometry, Parameters& parameters) const = 0;
  virtual void apply(sample::Sample& sample, const Parameters& parameters, const Work& work) const = 0;

  // What these parameters will do, asked before there are voxels. False where they change nothing: the transform is
  // then not applied.
  virtual bool acts(const Parameters&) const { return true; }
  // Where the traits have permutes: how voxels change places, in a sample of `dims` axes that count.
  virtual sample::AxisPermutation permutation(const Parameters&, int /*dims*/) const { return {}; }
  // Where the traits speak of arithmetic: the channels that it works on, and where they have is_arithmetic, what it
  // does with the `number`-th of these.
  virtual std::span<const std::int64_t> channels(const Parameters&) const { return {}; }
  virtual sample::Linear arithmetic(const Parameters&, std::size_t /*number*/) const { return {}; }

  // Parameters under batchgeneratorsv2's names, out of the core and into it (replay).
  virtual Record describe(const Parameters& parameters) const = 0;
  virtual void restore(const Record& record, const Geometry& geometry, Parameters& parameters) const = 0;

  // Working memory beside image and segmentation: an upper bound for each of the workspace's scratch buffers.
  virtual sample::Workspace::ScratchSizes scratch_bytes(const Geometry&) const { return {}; }
  // And for what every thread that helps takes of platform/thread_room.h.
  virtual std::size_t room_bytes(const Geometry&) const { return 0; }
};

// Takes the cast from the base of the parameters off every transform.
template <typename P>
class TransformOf : public Transform {
 public:
  Traits traits() const override { return {}; }
  std::unique_ptr<Parameters> new_parameters() const final { return std::make_unique<P>(); }
  void draw(random::Stream& stream, const Geometry& geometry, Parameters& parameters) const final {
    draw(stream, geometry, static_cast<P&>(parameters));
  }
  void apply(sample::Sample& sample, const Parameters& parameters, const Work& work) const final {
    apply(sample, static_cast<const P&>(parameters), work);
  }
  bool acts(const Parameters& parameters) const final { return acts(static_cast<const P&>(parameters)); }
  sample::AxisPermutation permutation(const Parameters& parameters, int dims) const final {
    return permutation(static_cast<const P&>(parameters), dims);
  }
  std::span<const std::int64_t> channels(const Parameters& parameters) const final {
    return channels(static_cast<const P&>(parameters));
  }
  sample::Linear arithmetic(const Parameters& parameters, std::size_t number) const final {
    return arithmetic(static_cast<const P&>(parameters), number);
  }
  Record describe(const Parameters& parameters) const final { return describe(static_cast<const P&>(parameters)); }
  void restore(const Record& record, const Geometry& geometry, Parameters& parameters) const final {
    restore(record, geometry, static_cast<P&>(parameters));
  }

 protected:
  virtual void draw(random::Stream& stream, const Geometry& geometry, P& parameters) const = 0;
  virtual void apply(sample::Sample& sample, const P& parameters, const Work& work) const = 0;
  virtual bool acts(const P&) const { return true; }
  virtual sample::AxisPermutation permutation(const P&, int /*dims*/) const { return {}; }
  virtual std::span<const std::int64_t> channels(const P&) const { return {}; }
  virtual sample::Linear arithmetic(const P&, std::size_t /*number*/) const { return {}; }
  virtual Record describe(const P& parameters) const = 0;
  virtual void restore(const Record& record, const Geometry& geometry, P& parameters) const = 0;
};

// For transforms that neither look at the segmentation nor change it.
template <typename P>
class ImageTransformOf : public TransformOf<P> {
 public:
  Traits traits() const override { return {.labels = Traits::kUntouched}; }
};

// For those of them that are arithmetic, known from the parameters.
template <typename P>
class ArithmeticTransformOf : public ImageTransformOf<P> {
 public:
  Traits traits() const final {
    return {.image = {.indifferent_to_moves = true}, .labels = Traits::kUntouched, .is_arithmetic = true};
  }

 protected:
  using TransformOf<P>::apply;
  void apply(sample::Sample& sample, const P& parameters, const Work&) const final {
    const std::span<const std::int64_t> channels = this->channels(parameters);
    for (std::size_t i = 0; i < channels.size(); ++i)
      Work::apply_to_channel(sample, channels[i], this->arithmetic(parameters, i));
  }
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

}  // namespace fastnnunet::transforms
