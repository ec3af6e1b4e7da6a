// SpatialTransform: rotation, scaling, elastic deformation and random crop in one resampling. With none but the last it
// is a crop.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/spatial/patch_affine.h"
#include "fastnnunet/transforms/transform.h"
#include "fastnnunet/warp/elastic.h"
#include "fastnnunet/warp/grid.h"
#include "fastnnunet/warp/patch_warp.h"

namespace fastnnunet::transforms {
namespace {

constexpr std::string_view kName = "SpatialTransform";

// The choice that `attributes` make of a few names.
template <typename T>
T choose(const Record& attributes, const char* entry, std::initializer_list<std::pair<const char*, T>> choices) {
  const std::string& text = attributes.text(entry);
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (text == name) return choice;
    names.append(names.empty() ? "" : ", ").append(name);
  }
  throw InvalidArgument(kName, "'" + std::string(entry) + "' to be one of " + names, text);
}

warp::Border border_of(const Record& attributes, const char* entry) {
  return choose<warp::Border>(attributes, entry,
                              {{"zeros", warp::Border::constant},
                               {"constant", warp::Border::constant},
                               {"border", warp::Border::edge},
                               {"reflection", warp::Border::reflection}});
}

warp::Interpolation interpolation_of(const Record& attributes, const char* entry) {
  return choose<warp::Interpolation>(
      attributes, entry, {{"bilinear", warp::Interpolation::linear}, {"nearest", warp::Interpolation::nearest}});
}

// Parameters in the last `dims` entries of three axes.
struct SpatialParameters : Parameters {
  PatchAffine affine;
  bool deforms = false;
  double sigmas[3] = {};      // of the field's components, in voxels
  double magnitudes[3] = {};  // their largest displacements, in voxels
  // A field to replay, (dims, patch): then sigmas and magnitudes say nothing.
  std::shared_ptr<const FloatArray> offsets;
  // Room for the work, kept from sample to sample.
  mutable warp::ElasticField field;
  mutable warp::WarpViews views;
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
        p_synchronize_scaling_(attributes.probability("p_synchronize_scaling_across_axes")),
        p_deform_(attributes.probability("p_elastic_deform")),
        deform_scale_(attributes.scalar("elastic_deform_scale")),
        deform_magnitude_(attributes.scalar("elastic_deform_magnitude")),
        p_synchronize_deform_(attributes.probability("p_synchronize_def_scale_across_axes")),
        centre_deformation_(attributes.boolean("center_deformation")),
        align_corners_(attributes.boolean("align_corners")),
        warp_{
            dims_,
            {1, 1, 1},
            {"padding_mode_image", border_of(attributes, "padding_mode_image"), 0,
             interpolation_of(attributes, "mode_image")},
            {"border_mode_seg", border_of(attributes, "border_mode_seg"), 0, interpolation_of(attributes, "mode_seg")},
            choose<base::Tiebreak>(attributes, "seg_tiebreak",
                                   {{"nearest", base::Tiebreak::nearest},
                                    {"lowest", base::Tiebreak::lowest},
                                    {"highest", base::Tiebreak::highest}})} {
    if (dims_ != 2 && dims_ != 3) throw InvalidArgument(kName, "'patch_size' of 2 or 3 numbers", std::to_string(dims_));
    const auto patch = attributes.integers("patch_size");
    const auto& distance = attributes.numbers("patch_center_dist_from_border");
    if (std::ssize(distance) != dims_)
      throw InvalidArgument(kName, "'patch_center_dist_from_border' for each axis", std::to_string(distance.size()));
    for (int axis = 0; axis < dims_; ++axis) {
      if (patch[static_cast<std::size_t>(axis)] < 1)
        throw InvalidArgument(kName, "'patch_size' above 0", std::to_string(patch[static_cast<std::size_t>(axis)]));
      patch_[axis + 3 - dims_] = patch[static_cast<std::size_t>(axis)];
      distance_[axis + 3 - dims_] = distance[static_cast<std::size_t>(axis)];
    }
    if (attributes.text("padding_mode_image") == "constant")
      warp_.image.outside = static_cast<float>(attributes.number("padding_value_image"));
    if (attributes.text("border_mode_seg") == "constant") {
      warp_.labels.outside = attributes.label("padding_value_seg");
    }
    warp_.patch = patch_;
  }

  std::string_view name() const override { return kName; }
  Traits traits() const override {
    return {.image = {.room = Traits::Room::anew},
            .labels = {.room = Traits::Room::anew},
            .moves_voxels = true,
            .writes_permuted = true};
  }

  Geometry after(const Geometry& geometry) const override {
    if (geometry.dims != dims_)
      throw InvalidArgument(kName, "a sample of " + std::to_string(dims_) + " spatial axes",
                            std::to_string(geometry.dims));
    Geometry cut = geometry;
    for (int axis = 3 - dims_; axis < 3; ++axis) cut.shape[axis] = patch_[axis];
    return cut;
  }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    // One channel of the whole window, the most that a rotation can ask for.
    sample::Workspace::ScratchSizes bytes{
        static_cast<std::size_t>(voxels(geometry.shape) * std::max<std::int64_t>(geometry.planes, 1)) * sizeof(float)};
    if (p_deform_ > 0) {
      // The field, and what drawing it takes.
      const auto size = static_cast<std::size_t>(voxels(patch_)) * sizeof(float);
      bytes[1] = static_cast<std::size_t>(dims_) * size;
      bytes[2] = size;
      bytes[3] = 2 * static_cast<std::size_t>(patch_[1] * patch_[2]) * sizeof(float);
    }
    return bytes;
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, SpatialParameters& p) const override {
    const int first = 3 - dims_;
    const bool rotate = stream.bernoulli(p_rotation_);
    const bool scale = stream.bernoulli(p_scaling_);
    p.deforms = stream.bernoulli(p_deform_);
    p.offsets.reset();
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
    p.affine.dims = dims_;
    p.affine.turns = rotate || scale;
    p.affine.map.setIdentity();
    if (p.affine.turns) p.affine.map.linear() = warp::affine_matrix(dims_, angles, scales);
    if (p.deforms) draw_deformation(stream, geometry, p);
    for (int axis = first; axis < 3; ++axis) {
      const auto size = static_cast<double>(geometry.shape[axis]);
      const bool anywhere = random_crop_ && distance_[axis] <= size - distance_[axis];
      p.affine.map.translation()[axis] = anywhere ? stream.uniform(distance_[axis], size - distance_[axis]) : size / 2;
    }
    p.affine.check(kName);
  }

  void apply(sample::Sample& sample, const SpatialParameters& p, const Work& work) const override {
    const Geometry cut = after(sample.geometry());
    const sample::SampleMoves moves = work.moves() != nullptr ? *work.moves() : sample::SampleMoves{};
    warp::Displacements displacements;
    if (p.deforms) displace(p, work.field(), sample.workspace(), displacements);
    const warp::Grid grid{p.affine.map, centre_deformation_, align_corners_};
    const warp::PatchPlace place{grid, !p.affine.turns && !p.deforms, p.deforms ? &displacements : nullptr};
    warp::Input<float> image(sample.pending_image(),
                             sample.pending_image() != nullptr ? sample::Array<float>{} : sample.image(),
                             sample.workspace());
    const sample::Array<float> image_out = sample.new_image(cut.image_channels, cut.shape);
    if (!sample.has_segmentation()) {
      warp_.warp(image, place, moves.image, image_out.data);
      sample.set_image(image_out);
      return;
    }
    warp::Input<std::int16_t> labels(
        sample.pending_segmentation(),
        sample.pending_segmentation() != nullptr ? sample::Array<std::int16_t>{} : sample.segmentation(),
        sample.workspace());
    const sample::Array<std::int16_t> labels_out = sample.new_segmentation(cut.segmentation_channels, cut.shape);
    if (!warp_.warp_together(image, labels, place, moves, p.views, image_out.data, labels_out.data)) {
      warp_.warp(image, place, moves.image, image_out.data);
      warp_.warp(labels, place, moves.labels, labels_out.data);
    }
    sample.set_image(image_out);
    sample.set_segmentation(labels_out);
  }

  Record describe(const SpatialParameters& p) const override {
    Record record{std::string(name())};
    p.affine.describe(record);
    if (p.deforms && p.offsets != nullptr) {
      record.set("elastic_offsets", p.offsets);
    } else if (p.deforms) {
      const int first = 3 - dims_;
      record.set("elastic_sigmas", Record::Numbers(p.sigmas + first, p.sigmas + 3));
      record.set("elastic_magnitudes", Record::Numbers(p.magnitudes + first, p.magnitudes + 3));
    }
    return record;
  }

  void restore(const Record& record, const Geometry&, SpatialParameters& p) const override {
    p.affine.dims = dims_;
    p.affine.restore(record, kName);
    restore_deformation(record, p);
  }

 private:
  void draw_deformation(random::Stream& stream, const Geometry& geometry, SpatialParameters& p) const {
    const bool synchronize = stream.bernoulli(p_synchronize_deform_);
    double scales[3] = {};
    for (int axis = 0; axis < dims_; ++axis)
      scales[axis] =
          axis > 0 && synchronize
              ? scales[0]
              : deform_scale_.draw(stream, {geometry, std::nullopt, synchronize ? std::nullopt : std::optional(axis)});
    for (int axis = 0; axis < dims_; ++axis) {
      const int at = axis + 3 - dims_;
      p.sigmas[at] = scales[axis] * static_cast<double>(patch_[at]);
      p.magnitudes[at] = deform_magnitude_.draw(stream, {geometry, std::nullopt, axis, scales[axis]});
    }
    check_deformation(p);
  }

  void check_deformation(SpatialParameters& p) const {
    for (int axis = 3 - dims_; axis < 3; ++axis) {
      if (!std::isfinite(p.sigmas[axis]))
        throw InvalidArgument(kName, "'elastic_deform_scale' to be finite", std::to_string(p.sigmas[axis]));
      if (!std::isfinite(p.magnitudes[axis]))
        throw InvalidArgument(kName, "'elastic_deform_magnitude' to be finite", std::to_string(p.magnitudes[axis]));
      p.magnitudes[axis] = std::max(p.magnitudes[axis], 1e-8);  // as bgv2, which divides by it
    }
  }

  void restore_deformation(const Record& record, SpatialParameters& p) const {
    p.offsets.reset();
    p.deforms = record.has("elastic_offsets") || record.has("elastic_sigmas");
    if (record.has("elastic_offsets")) {
      p.offsets = record.floats("elastic_offsets");
      std::vector<std::int64_t> shape{dims_};
      shape.insert(shape.end(), patch_.begin() + 3 - dims_, patch_.end());
      if (p.offsets->shape != shape)
        throw InvalidArgument(kName,
                              "'elastic_offsets' of " + std::to_string(dims_) + " components of the patch's shape",
                              std::to_string(p.offsets->values.size()) + " numbers");
    } else if (p.deforms) {
      const auto& sigmas = record.numbers("elastic_sigmas");
      const auto& magnitudes = record.numbers("elastic_magnitudes");
      if (std::ssize(sigmas) != dims_ || std::ssize(magnitudes) != dims_)
        throw InvalidArgument(kName, "'elastic_sigmas' and 'elastic_magnitudes' for each axis",
                              std::to_string(sigmas.size()) + " and " + std::to_string(magnitudes.size()));
      std::copy(sigmas.begin(), sigmas.end(), p.sigmas + 3 - dims_);
      std::copy(magnitudes.begin(), magnitudes.end(), p.magnitudes + 3 - dims_);
      check_deformation(p);
    }
  }

  void displace(const SpatialParameters& p, const random::Stream& stream, sample::Workspace& workspace,
                warp::Displacements& out) const {
    const std::int64_t size = voxels(patch_);
    const float* components = p.offsets != nullptr ? p.offsets->values.data() : nullptr;
    float* drawn = components == nullptr ? workspace.scratch<float>(1, dims_ * size) : nullptr;
    for (int component = 0; component < dims_; ++component) {
      const int axis = component + 3 - dims_;
      if (drawn != nullptr)
        p.field.draw(stream, static_cast<std::uint64_t>(component * size), p.sigmas[axis], p.magnitudes[axis], patch_,
                     workspace.scratch<float>(2, size), workspace.scratch<float>(3, 2 * patch_[1] * patch_[2]),
                     drawn + component * size);
      out.component[axis] = (drawn != nullptr ? drawn : components) + component * size;
      warp::survey(out.component[axis], size, out.low[axis], out.high[axis], out.mean[axis]);
    }
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
  double p_deform_;
  Scalar deform_scale_;  // in shares of the patch's edges
  Scalar deform_magnitude_;
  double p_synchronize_deform_;
  bool centre_deformation_;
  bool align_corners_;
  warp::PatchWarp warp_;
};

}  // namespace

std::unique_ptr<Transform> make_spatial(const Record& attributes) { return std::make_unique<Spatial>(attributes); }

}  // namespace fastnnunet::transforms
