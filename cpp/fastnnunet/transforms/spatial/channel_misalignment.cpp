// ChannelMisalignmentTransform: chosen channels are scaled, rotated and shifted against the others, with zeros from
// outside. The segmentation stays.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"
#include "fastnnunet/warp/grid.h"
#include "fastnnunet/warp/resample.h"

namespace fastnnunet {
namespace {

constexpr const char* kName = "ChannelMisalignmentTransform";

using Matrix = std::array<std::array<double, 3>, 3>;
constexpr Matrix kIdentity = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

// In the last `dims` entries of three axes.
struct MisalignmentParameters : Parameters {
  int dims = 3;
  bool has_affine = false;
  Matrix affine = kIdentity;
  double centre[3] = {};  // of the crop, in voxels
  Index3 shift{};         // what follows from it: voxel i of the result is voxel i + shift
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

  Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(voxels(geometry.shape)) * sizeof(float)};
  }

 protected:
  void draw(Stream& stream, const Geometry& geometry, MisalignmentParameters& p) const override {
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
    p.has_affine = squeeze || rotate;
    Eigen::Matrix3d affine = Eigen::Matrix3d::Identity();
    if (p.has_affine && geometry.dims == 3)
      affine = affine_3d(angles, scales);
    else if (p.has_affine)
      affine.bottomRightCorner<2, 2>() = affine_2d(angles[1], scales[0], scales[1]);
    for (int axis = 0; axis < 3; ++axis)
      for (int of = 0; of < 3; ++of)
        p.affine[static_cast<std::size_t>(axis)][static_cast<std::size_t>(of)] = affine(axis, of);
    for (const auto& row : p.affine)
      for (const double entry : row) check_affine_entry(kName, entry);
    for (int axis = first; axis < 3; ++axis) {
      p.centre[axis] = static_cast<double>(geometry.shape[axis]) / 2;
      if (!shift) continue;
      const std::int64_t most = shift_[static_cast<std::size_t>(axis - first)];
      // Said before the draw that bgv2 would fail at.
      if (most > geometry.shape[axis])
        throw InvalidArgument(kName,
                              "'shiftZYX' of at most the image's " + std::to_string(geometry.shape[axis]) +
                                  " voxels along axis " + std::to_string(axis - first),
                              std::to_string(most));
      p.centre[axis] += static_cast<double>(stream.integer(-most, most));
    }
    set_shift(geometry, p);
  }

  bool acts(const MisalignmentParameters& p) const override {
    return !channels_.empty() && (p.has_affine || p.shift != Index3{});
  }

  void apply(Sample& sample, const MisalignmentParameters& p, const Work&) const override {
    Array<float>& image = sample.image();
    const Index3& shape = image.shape;
    const Positions positions = positions_of(p, shape);
    // The voxels of the result that are not shifted in from outside.
    const Box kept =
        Box::of_shape(shape).intersect(Box::of_shape(shape).shifted({-p.shift[0], -p.shift[1], -p.shift[2]}));
    float* const copy = sample.workspace().scratch<float>(0, image.channel_size());
    for (const std::int64_t number : channels_) {
      float* const out = image.channel(resolve_channel(kName, "im_channels_2_misalign", number, image.channels));
      std::memcpy(copy, out, static_cast<std::size_t>(image.channel_size()) * sizeof(float));
      if (p.has_affine) {
        const auto view = SourceView<float>::dense(copy, Box::of_shape(shape));
        const ImageResampling resampling{{&view, 1}, Interpolation::linear, 0.0f, out};
        resample(sample.workspace(), positions, shape, shape, view.box, &resampling, nullptr);
      }
      for (std::int64_t x = 0; x < shape[0]; ++x)
        for (std::int64_t y = 0; y < shape[1]; ++y) {
          float* const row = out + (x * shape[1] + y) * shape[2];
          const bool outside = x < kept.lower[0] || x >= kept.upper[0] || y < kept.lower[1] || y >= kept.upper[1];
          const std::int64_t begin = outside ? shape[2] : kept.lower[2], end = outside ? shape[2] : kept.upper[2];
          std::fill(row, row + begin, 0.0f);
          std::fill(row + end, row + shape[2], 0.0f);
          if (p.has_affine || outside) continue;
          const float* from = copy + ((x + p.shift[0]) * shape[1] + y + p.shift[1]) * shape[2] + p.shift[2];
          std::copy(from + begin, from + end, row + begin);
        }
    }
  }

  Record describe(const MisalignmentParameters& p) const override {
    Record record{std::string(name())};
    Record::Numbers centre;
    Record::Rows affine;
    for (std::size_t axis = static_cast<std::size_t>(3 - p.dims); axis < 3; ++axis) {
      centre.push_back(p.centre[axis]);
      affine.emplace_back(p.affine[axis].end() - p.dims, p.affine[axis].end());
    }
    record.set("center_location_in_pixels", centre);
    record.set("affine", p.has_affine ? Record::Value(affine) : Record::Value(std::monostate{}));
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, MisalignmentParameters& p) const override {
    after(geometry);
    const auto dims = static_cast<std::size_t>(geometry.dims), first = 3 - dims;
    const auto& centre = record.numbers("center_location_in_pixels");
    if (centre.size() != dims)
      throw InvalidArgument(kName, "'center_location_in_pixels' of " + std::to_string(dims) + " numbers",
                            std::to_string(centre.size()));
    p.has_affine = record.has("affine");
    p.affine = kIdentity;
    for (std::size_t axis = 0; axis < dims; ++axis) {
      if (!std::isfinite(centre[axis]))
        throw InvalidArgument(kName, "a finite 'center_location_in_pixels'", std::to_string(centre[axis]));
      p.centre[axis + first] = centre[axis];
      if (!p.has_affine) continue;
      const auto& rows = record.rows("affine");
      if (rows.size() != dims || rows[axis].size() != dims)
        throw InvalidArgument(kName, "'affine' of " + std::to_string(dims) + " rows and columns",
                              std::to_string(rows.size()) + " rows");
      for (const double entry : rows[axis]) check_affine_entry(kName, entry);
      std::copy(rows[axis].begin(), rows[axis].end(),
                p.affine[axis + first].begin() + static_cast<std::ptrdiff_t>(first));
    }
    set_shift(geometry, p);
    for (std::size_t axis = first; axis < 3; ++axis)
      if (std::abs(p.shift[axis]) > geometry.shape[axis])
        throw InvalidArgument(kName,
                              "a shift of at most the image's " + std::to_string(geometry.shape[axis]) +
                                  " voxels along axis " + std::to_string(axis - first),
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
    p.dims = geometry.dims;
    p.shift = {};
    for (int axis = 3 - geometry.dims; axis < 3; ++axis) {
      // No further than it takes to be refused.
      const auto size = static_cast<double>(geometry.shape[axis]);
      const double centre = std::clamp(std::floor(p.centre[axis]), -size - 1, 2 * size + 2);
      p.shift[axis] = static_cast<std::int64_t>(centre) - geometry.shape[axis] / 2;
    }
  }

  static Positions positions_of(const MisalignmentParameters& p, const Index3& shape) {
    Positions positions;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      // The grid is centred on the image and the matrix passes through float32, as in bgv2.
      positions.offset[axis] = static_cast<double>(shape[axis] - 1) / 2;
      for (std::size_t of = 0; of < 3; ++of) {
        const double entry = through_float(p.affine[axis][of]);
        positions.matrix[axis][of] = entry;
        positions.offset[axis] += entry * (static_cast<double>(p.shift[of]) - static_cast<double>(shape[of] - 1) / 2);
      }
    }
    return positions;
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

}  // namespace fastnnunet
