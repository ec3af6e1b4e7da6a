// Convert3DTo2DTransform and Convert2DTo3DTransform: between them, the planes of a 3D sample are channels of a 2D one.
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/no_parameters.h"

namespace fastnnunet::transforms {
namespace {

class Convert3DTo2D final : public FixedTransform {
 public:
  std::string_view name() const override { return "Convert3DTo2DTransform"; }
  Traits traits() const override { return {.moves_voxels = true}; }

  Geometry after(const Geometry& geometry) const override {
    if (geometry.dims != 3) throw InvalidArgument("Convert3DTo2DTransform", "a 3D sample", "a 2D one");
    Geometry folded = geometry;
    folded.image_channels *= geometry.shape[0];
    folded.segmentation_channels *= geometry.shape[0];
    folded.shape[0] = 1;
    folded.dims = 2;
    folded.planes = geometry.shape[0];
    return folded;
  }

 protected:
  void apply(sample::Sample& sample) const override { sample.fold_planes(); }
};

class Convert2DTo3D final : public FixedTransform {
 public:
  std::string_view name() const override { return "Convert2DTo3DTransform"; }
  Traits traits() const override { return {.moves_voxels = true}; }

  Geometry after(const Geometry& geometry) const override {
    if (geometry.planes == 0)
      throw InvalidArgument("Convert2DTo3DTransform", "a sample that Convert3DTo2DTransform made 2D", "another");
    Geometry unfolded = geometry;
    unfolded.image_channels /= geometry.planes;
    unfolded.segmentation_channels /= geometry.planes;
    unfolded.shape[0] = geometry.planes;
    unfolded.dims = 3;
    unfolded.planes = 0;
    return unfolded;
  }

 protected:
  void apply(sample::Sample& sample) const override { sample.unfold_planes(); }
};

}  // namespace

std::unique_ptr<Transform> make_convert_3d_to_2d(const Record&) { return std::make_unique<Convert3DTo2D>(); }
std::unique_ptr<Transform> make_convert_2d_to_3d(const Record&) { return std::make_unique<Convert2DTo3D>(); }

}  // namespace fastnnunet::transforms
