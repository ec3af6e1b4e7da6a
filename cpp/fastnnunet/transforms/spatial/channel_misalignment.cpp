// ChannelMisalignmentTransform: chosen channels are scaled, rotated and shifted against the others, with zeros from
// outside. The segmentation stays.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/transforms/spatial/patch_affine.h"
#include "fastnnunet/warp/grid.h"
#include "fastnnunet/warp/resample/resample.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "ChannelMisalignmentTransform";

struct MisalignmentParameters : Parameters {
  PatchAffine affine;  // of the crop that bgv2 takes of the turned image
  Index3 shift{};      // what follows from its centre: voxel i of the result is voxel i + shift
};

class ChannelMisalignment final : public ImageTransformOf<MisalignmentParameters> {
 public:
  explicit ChannelMisalignment(const Record& attributes)
      : channels_(attributes.integers("im_channels_2_misalign")),
        squeezing_(attributes.numbers("squeezingZYX")),
        p_squeeze_(attributes.probability("p_squeeze")),
        rotation_(attributes.numbers("rotation_ax_cor_sag")),
        p_rotation_(attributes.probability("p_rotation")),
        shift_(attributes.integers("shiftZYX")),
        p_shift_(attributes.probability("p_shift")) {
    for (const std::int64_t shift : shift_)
      if (shift < 0) throw InvalidArgument(kName, "'shiftZYX' of at least 0", std::to_string(shift));
  }

  std::string_view name() const override { return kName; }

  Geometry after(const Geometry& geometry) const override {
    for (const std::int64_t channel : channels_)
      resolve_channel(kName, "im_channels_2_misalign", channel, geometry.image_channels);
    check_count("squeezingZYX", squeezing_.size(), p_squeeze_, geometry);
    check_count("rotation_ax_cor_sag", rotation_.size(), p_rotation_, geometry);
    check_count("shiftZYX", shift_.size(), p_shift_, geometry);
    return geometry;
  }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float)};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, MisalignmentParameters& p) const override {
    after(geometry);
    const bool squeeze = stream.bernoulli(p_squeeze_);
    const bool rotate = stream.bernoulli(p_rotation_);
    const bool shift = stream.bernoulli(p_shift_);
    const int first = 3 - geometry.dims;
    double angles[3] = {}, scales[3] = {1, 1, 1};
    const auto dims = static_cast<std::size_t>(geometry.dims);
    if (squeeze)
      for (std::size_t i = 0; i < dims; ++i) scales[i] = stream.uniform(1 - squeezing_[i], 1 + squeezing_[i]);
    if (rotate)
      for (std::size_t i = 0; i < dims; ++i) angles[i] = stream.uniform(-rotation_[i], rotation_[i]);
    p.affine.dims = geometry.dims;
    p.affine.turns = squeeze || rotate;
    p.affine.map.setIdentity();
    if (p.affine.turns) p.affine.map.linear() = warp::affine_matrix(geometry.dims, angles, scales);
    for (int axis = first; axis < 3; ++axis) {
      double& centre = p.affine.map.translation()[axis];
      centre = static_cast<double>(geometry.shape[axis]) / 2;
      if (!shift) continue;
      const std::int64_t most = shift_[static_cast<std::size_t>(axis - first)];
      // Said before the draw that bgv2 would fail at.
      if (most > geometry.shape[axis])
        throw InvalidArgument(kName,
                              "'shiftZYX' of at most the image's " + std::to_string(geometry.shape[axis]) +
                                  " voxels along axis " + std::to_string(axis - first),
                              std::to_string(most));
      centre += static_cast<double>(stream.integer(-most, most));
    }
    p.affine.check(kName);
    set_shift(geometry, p);
  }

  bool acts(const MisalignmentParameters& p) const override {
    return !channels_.empty() && (p.affine.turns || p.shift != Index3{});
  }

  void apply(sample::Sample& sample, const MisalignmentParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    const Index3& shape = image.shape;
    const warp::Positions positions = warp::image_positions(p.affine.map.linear(), p.shift, shape);
    // Of what the result is made; what lies beyond the image is shifted in from outside.
    const Box wanted = Box::of_shape(shape).shifted(p.shift), kept = wanted.intersect(Box::of_shape(shape));
    float* const copy = sample.workspace().scratch<float>(0, image.channel_size());
    for (const std::int64_t number : channels_) {
      float* const out = image.channel(resolve_channel(kName, "im_channels_2_misalign", number, image.channels));
      std::memcpy(copy, out, static_cast<std::size_t>(image.channel_size()) * sizeof(float));
      const auto view = sample::SourceView<float>::dense(copy, Box::of_shape(shape));
      if (p.affine.turns) {
        const warp::ImageResampling resampling{{&view, 1}, warp::Interpolation::linear, 0.0f, out};
        warp::resample(sample.workspace(), positions, shape, shape, view.box, &resampling, nullptr);
      } else {
        for (std::int64_t x = kept.lower[0]; x < kept.upper[0]; ++x)
          for (std::int64_t y = kept.lower[1]; y < kept.upper[1]; ++y)
            std::copy_n(copy + base::offset_in(view.box, {x, y, kept.lower[2]}), kept.shape()[2],
                        out + base::offset_in(wanted, {x, y, kept.lower[2]}));
      }
      base::fill_outside(wanted, kept, out, 0.0f);
    }
  }

  Record describe(const MisalignmentParameters& p) const override {
    Record record{std::string(name())};
    p.affine.describe(record);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, MisalignmentParameters& p) const override {
    after(geometry);
    p.affine.dims = geometry.dims;
    p.affine.restore(record, kName);
    set_shift(geometry, p);
    for (int axis = 3 - geometry.dims; axis < 3; ++axis)
      if (std::abs(p.shift[axis]) > geometry.shape[axis])
        throw InvalidArgument(kName,
                              "a shift of at most the image's " + std::to_string(geometry.shape[axis]) +
                                  " voxels along axis " + std::to_string(axis - (3 - geometry.dims)),
                              std::to_string(p.shift[axis]));
  }

 private:
  static void check_count(const char* attribute, std::size_t count, double probability, const Geometry& geometry) {
    if (probability > 0 && count < static_cast<std::size_t>(geometry.dims))
      throw InvalidArgument(kName,
                            std::string("'") + attribute + "' for each of " + std::to_string(geometry.dims) + " axes",
                            std::to_string(count));
  }

  static void set_shift(const Geometry& geometry, MisalignmentParameters& p) {
    p.shift = {};
    for (int axis = 3 - geometry.dims; axis < 3; ++axis) {
      // No further than it takes to be refused.
      const auto size = static_cast<double>(geometry.shape[axis]);
      const double centre = std::clamp(std::floor(p.affine.map.translation()[axis]), -size - 1, 2 * size + 2);
      p.shift[axis] = static_cast<std::int64_t>(centre) - geometry.shape[axis] / 2;
    }
  }

  std::vector<std::int64_t> channels_;
  std::vector<double> squeezing_;
  double p_squeeze_;
  std::vector<double> rotation_;
  double p_rotation_;
  std::vector<std::int64_t> shift_;
  double p_shift_;
};

}  // namespace

std::unique_ptr<Transform> make_channel_misalignment(const Record& attributes) {
  return std::make_unique<ChannelMisalignment>(attributes);
}

}  // namespace fastnnunet::transforms
