// SpatialTransform: rotation, scaling and random crop in one resampling. Without rotation and scaling it is a crop.
#include <Eigen/Core>
#include <cmath>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/resampling.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet {
namespace {

// How the outside of the image is filled; "zeros" is a constant of 0.
struct Padding {
  float image = 0;
  std::int16_t segmentation = 0;
};

// Rotations about X, then Y, then Z, of a scaling along the axes (bgv2's create_affine_matrix_3d).
Eigen::Matrix3d affine_3d(const double (&angles)[3], const double (&scales)[3]) {
  const auto sine = [&](int axis) { return std::sin(angles[axis]); };
  const auto cosine = [&](int axis) { return std::cos(angles[axis]); };
  Eigen::Matrix3d x, y, z;
  x << 1, 0, 0, 0, cosine(0), -sine(0), 0, sine(0), cosine(0);
  y << cosine(1), 0, sine(1), 0, 1, 0, -sine(1), 0, cosine(1);
  z << cosine(2), -sine(2), 0, sine(2), cosine(2), 0, 0, 0, 1;
  return z * y * x * Eigen::Vector3d(scales[0], scales[1], scales[2]).asDiagonal();
}

Eigen::Matrix2d affine_2d(double angle, double scale_y, double scale_z) {
  Eigen::Matrix2d rotation;
  rotation << std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle);
  return rotation * Eigen::Vector2d(scale_y, scale_z).asDiagonal();
}

// Parameters in the last `dims` entries of three axes.
struct SpatialParameters : Parameters {
  bool has_affine = false;
  Eigen::Matrix3d affine = Eigen::Matrix3d::Identity();
  Eigen::Vector3d centre = Eigen::Vector3d::Zero();  // in voxels of the window
};

// Reads boxes of one array, from the source where nothing is in memory yet.
template <typename T>
class Input {
 public:
  Input(Source<T>* pending, const Array<T>& array, Workspace& workspace)
      : pending_(pending), array_(array), workspace_(workspace) {}

  // A pending 3D source keeps its planes although the sample is folded: one box then serves all planes of a channel.
  std::int64_t channels() const { return pending_ != nullptr ? pending_->channels() : array_.channels; }
  const Index3& shape() const { return pending_ != nullptr ? pending_->shape() : array_.shape; }

  SourceView<T> view(std::int64_t channel, const Box& box) {
    if (pending_ == nullptr) return {array_.channel(channel), Box::of_shape(array_.shape)};
    T* memory = workspace_.scratch<T>(0, voxels(box.shape()));
    if (!box.empty()) pending_->read(channel, box, memory);
    return {memory, box};
  }

  // The part of `box` inside the window, the rest filled; dense, of the box's shape.
  void crop(std::int64_t channel, const Box& box, T outside, T* out) {
    const Box window = Box::of_shape(shape());
    const Box common = box.intersect(window);
    if (pending_ != nullptr && common == box) {
      pending_->read(channel, box, out);
      return;
    }
    const Index3 size = box.shape();
    if (!(common == box)) std::fill(out, out + voxels(size), outside);
    if (common.empty()) return;
    const SourceView<T> from = view(channel, common);
    const Index3 pitch = from.box.shape();
    for (std::int64_t x = common.lower[0]; x < common.upper[0]; ++x)
      for (std::int64_t y = common.lower[1]; y < common.upper[1]; ++y) {
        const T* row = from.data + ((x - from.box.lower[0]) * pitch[1] + y - from.box.lower[1]) * pitch[2] +
                       common.lower[2] - from.box.lower[2];
        std::copy(row, row + (common.upper[2] - common.lower[2]),
                  out + ((x - box.lower[0]) * size[1] + y - box.lower[1]) * size[2] + common.lower[2] - box.lower[2]);
      }
  }

 private:
  Source<T>* pending_;
  Array<T> array_;
  Workspace& workspace_;
};

class Spatial final : public TransformOf<SpatialParameters> {
 public:
  explicit Spatial(const Record& attributes)
      : dims_(static_cast<int>(attributes.numbers("patch_size").size())),
        random_crop_(attributes.boolean("random_crop")),
        p_rotation_(attributes.probability("p_rotation")),
        rotation_(attributes.scalar("rotation")),
        p_rotation_per_axis_(attributes.probability("p_rot_per_axis")),
        p_scaling_(attributes.probability("p_scaling")),
        scaling_(attributes.scalar("scaling")),
        p_synchronize_scaling_(attributes.probability("p_synchronize_scaling_across_axes")) {
    if (dims_ != 2 && dims_ != 3)
      throw InvalidArgument("SpatialTransform", "'patch_size' of 2 or 3 numbers", std::to_string(dims_));
    const auto patch = attributes.integers("patch_size");
    const auto distance = attributes.numbers("patch_center_dist_from_border");
    if (std::ssize(distance) != dims_)
      throw InvalidArgument("SpatialTransform", "'patch_center_dist_from_border' for each axis",
                            std::to_string(distance.size()));
    for (int axis = 0; axis < dims_; ++axis) {
      if (patch[static_cast<std::size_t>(axis)] < 1)
        throw InvalidArgument("SpatialTransform", "'patch_size' above 0",
                              std::to_string(patch[static_cast<std::size_t>(axis)]));
      patch_[axis + 3 - dims_] = patch[static_cast<std::size_t>(axis)];
      distance_[axis + 3 - dims_] = distance[static_cast<std::size_t>(axis)];
    }
    padding_.image = static_cast<float>(attributes.number("padding_value_image"));
    padding_.segmentation = static_cast<std::int16_t>(attributes.integer("padding_value_seg"));
    const std::string& tiebreak = attributes.text("seg_tiebreak");
    if (tiebreak == "lowest")
      tiebreak_ = Tiebreak::lowest;
    else if (tiebreak == "highest")
      tiebreak_ = Tiebreak::highest;
    else if (tiebreak != "nearest")
      throw InvalidArgument("SpatialTransform", "'seg_tiebreak' nearest, lowest or highest", tiebreak);
  }

  std::string_view name() const override { return "SpatialTransform"; }
  bool moves_voxels() const override { return true; }

  Geometry after(const Geometry& geometry) const override {
    if (geometry.dims != dims_)
      throw InvalidArgument("SpatialTransform", "a sample of " + std::to_string(dims_) + " spatial axes",
                            std::to_string(geometry.dims));
    Geometry cut = geometry;
    for (int axis = 3 - dims_; axis < 3; ++axis) cut.shape[axis] = patch_[axis];
    return cut;
  }

  Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    // One channel of the whole window, the most that a rotation can ask for.
    return {static_cast<std::size_t>(voxels(geometry.shape) * std::max<std::int64_t>(geometry.planes, 1)) *
            sizeof(float)};
  }

 protected:
  void draw(Stream& stream, const Geometry& geometry, SpatialParameters& p) const override {
    const int first = 3 - dims_;
    const bool rotate = stream.bernoulli(p_rotation_);
    const bool scale = stream.bernoulli(p_scaling_);
    double angles[3] = {}, scales[3] = {1, 1, 1};
    if (rotate) {
      for (int axis = 0; axis < dims_; ++axis) angles[axis] = rotation_.draw(stream, {geometry, std::nullopt, axis});
      if (p_rotation_per_axis_ < 1)
        for (int axis = 0; axis < dims_; ++axis)
          if (!stream.bernoulli(p_rotation_per_axis_)) angles[axis] = 0;
    }
    if (scale) {
      const bool synchronize = stream.bernoulli(p_synchronize_scaling_);
      for (int axis = 0; axis < dims_; ++axis)
        scales[axis] =
            axis > 0 && synchronize
                ? scales[0]
                : scaling_.draw(stream, {geometry, std::nullopt, synchronize ? std::nullopt : std::optional(axis)});
    }
    p.has_affine = rotate || scale;
    p.affine.setIdentity();
    if (p.has_affine) {
      if (dims_ == 3)
        p.affine = affine_3d(angles, scales);
      else
        p.affine.bottomRightCorner<2, 2>() = affine_2d(angles[1], scales[0], scales[1]);
    }
    for (int axis = first; axis < 3; ++axis) {
      const auto size = static_cast<double>(geometry.shape[axis]);
      p.centre[axis] = size / 2;
      if (random_crop_ && distance_[axis] <= size - distance_[axis])
        p.centre[axis] = stream.uniform(distance_[axis], size - distance_[axis]);
    }
  }

  void apply(Sample& sample, const SpatialParameters& p, const Stream&) const override {
    const Geometry geometry = sample.geometry();
    const Geometry cut = after(geometry);
    {
      Array<float> present = sample.pending_image() != nullptr ? Array<float>{} : sample.image();
      Input<float> input(sample.pending_image(), present, sample.workspace());
      const Array<float> out = sample.new_image(cut.image_channels, cut.shape);
      transform(input, p, padding_.image, out.data,
                [&](const auto& view, const auto& positions, const Index3& patch, float* to) {
                  resample_image(view, positions, patch, to, padding_.image);
                });
      sample.set_image(out);
    }
    if (!sample.has_segmentation()) return;
    Array<std::int16_t> present =
        sample.pending_segmentation() != nullptr ? Array<std::int16_t>{} : sample.segmentation();
    Input<std::int16_t> input(sample.pending_segmentation(), present, sample.workspace());
    const Array<std::int16_t> out = sample.new_segmentation(cut.segmentation_channels, cut.shape);
    transform(input, p, padding_.segmentation, out.data,
              [&](const auto& view, const auto& positions, const Index3& patch, std::int16_t* to) {
                resample_labels(view, positions, patch, to, padding_.segmentation, tiebreak_);
              });
    sample.set_segmentation(out);
  }

  Record describe(const SpatialParameters& p) const override {
    Record record{std::string(name())};
    Record::Numbers centre;
    Record::Rows affine;
    for (int axis = 3 - dims_; axis < 3; ++axis) {
      centre.push_back(p.centre[axis]);
      Record::Numbers row;
      for (int of = 3 - dims_; of < 3; ++of) row.push_back(p.affine(axis, of));
      affine.push_back(row);
    }
    record.set("center_location_in_pixels", centre);
    record.set("affine", p.has_affine ? Record::Value(affine) : Record::Value(std::monostate{}));
    return record;
  }

  void restore(const Record& record, const Geometry&, SpatialParameters& p) const override {
    const auto& centre = record.numbers("center_location_in_pixels");
    if (std::ssize(centre) != dims_)
      throw InvalidArgument("SpatialTransform", "'center_location_in_pixels' of " + std::to_string(dims_) + " numbers",
                            std::to_string(centre.size()));
    p.has_affine = record.has("affine");
    p.affine.setIdentity();
    for (int axis = 0; axis < dims_; ++axis) {
      p.centre[axis + 3 - dims_] = centre[static_cast<std::size_t>(axis)];
      if (!p.has_affine) continue;
      const auto& rows = record.rows("affine");
      if (std::ssize(rows) != dims_ || std::ssize(rows[static_cast<std::size_t>(axis)]) != dims_)
        throw InvalidArgument("SpatialTransform", "'affine' of " + std::to_string(dims_) + " rows and columns",
                              std::to_string(rows.size()) + " rows");
      for (int of = 0; of < dims_; ++of)
        p.affine(axis + 3 - dims_, of + 3 - dims_) = rows[static_cast<std::size_t>(axis)][static_cast<std::size_t>(of)];
    }
  }

 private:
  // In 2D, every plane of a source channel goes the same way; planes stay whole, and a position's X is its plane.
  template <typename T, typename Resample>
  void transform(Input<T>& input, const SpatialParameters& p, T outside, T* out, Resample&& resample) const {
    const Index3 window = input.shape();
    Index3 patch = patch_;
    if (dims_ == 2) patch[0] = window[0];
    const std::int64_t size = voxels(patch);
    if (!p.has_affine) {
      Box box = Box::of_shape(window);
      for (int axis = 3 - dims_; axis < 3; ++axis) {
        box.lower[axis] = static_cast<std::int64_t>(std::floor(p.centre[axis])) - patch[axis] / 2;
        box.upper[axis] = box.lower[axis] + patch[axis];
      }
      for (std::int64_t channel = 0; channel < input.channels(); ++channel)
        input.crop(channel, box, outside, out + channel * size);
      return;
    }
    AffinePositions positions;
    for (int axis = 0; axis < 3; ++axis) {
      if (axis < 3 - dims_) {
        positions.matrix[axis][axis] = 1.0;
        continue;
      }
      // The grid is centred on the patch and the matrix passes through float32, as in bgv2; grid_sample with
      // align_corners=False puts voxel i of the window at i + 0.5.
      positions.offset[axis] = p.centre[axis] - 0.5;
      for (int of = 0; of < 3; ++of) {
        const double entry = of < 3 - dims_ ? 0.0 : double{static_cast<float>(p.affine(axis, of))};
        positions.matrix[axis][of] = entry;
        positions.offset[axis] -= entry * static_cast<double>(patch[of] - 1) / 2;
      }
    }
    const Box box = needed_box(positions, patch, window);
    for (std::int64_t channel = 0; channel < input.channels(); ++channel)
      resample(input.view(channel, box), positions, patch, out + channel * size);
  }

  int dims_;
  Index3 patch_{1, 1, 1};
  double distance_[3] = {};
  bool random_crop_;
  double p_rotation_;
  Scalar rotation_;
  double p_rotation_per_axis_;
  double p_scaling_;
  Scalar scaling_;
  double p_synchronize_scaling_;
  Padding padding_;
  Tiebreak tiebreak_ = Tiebreak::nearest;
};

}  // namespace

std::unique_ptr<Transform> make_spatial(const Record& attributes) { return std::make_unique<Spatial>(attributes); }

}  // namespace fastnnunet
