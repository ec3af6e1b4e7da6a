// SpatialTransform's attributes, and loops over voxels.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "transforms/samples.h"

namespace fastnnunet::testing {

// nnU-Net's, for a patch; angle: the largest, in radians.
inline Record spatial_attributes(const Numbers& patch, double angle, double p_rotation, double p_scaling) {
  return record({{"patch_size", patch},
                 {"patch_center_dist_from_border", Numbers(patch.size(), 0.0)},
                 {"random_crop", false},
                 {"p_rotation", p_rotation},
                 {"rotation", Scalar::range(-angle, angle)},
                 {"p_rot_per_axis", 1.0},
                 {"p_scaling", p_scaling},
                 {"scaling", Scalar::range(0.7, 1.4)},
                 {"p_synchronize_scaling_across_axes", 1.0},
                 {"p_elastic_deform", 0.0},
                 {"elastic_deform_scale", Scalar::range(0.0, 0.2)},
                 {"elastic_deform_magnitude", Scalar::range(0.0, 0.2)},
                 {"p_synchronize_def_scale_across_axes", 0.0},
                 {"center_deformation", true},
                 {"align_corners", false},
                 {"mode_image", std::string("bilinear")},
                 {"mode_seg", std::string("bilinear")},
                 {"padding_mode_image", std::string("zeros")},
                 {"border_mode_seg", std::string("constant")},
                 {"padding_value_image", 0.0},
                 {"padding_value_seg", -1.0},
                 {"seg_tiebreak", std::string("lowest")}},
                "SpatialTransform");
}

inline Record with(Record attributes, std::initializer_list<std::pair<const char*, Record::Value>> entries) {
  for (const auto& [name, value] : entries) attributes.set(name, value);
  return attributes;
}

// The parameters of SpatialTransform and ChannelMisalignmentTransform.
inline Record placed_at(const Numbers& centre, const Record::Value& affine = std::monostate{}) {
  return record({{"center_location_in_pixels", centre}, {"affine", affine}});
}

inline Record deforming(const Numbers& patch, double angle, double p_affine = 0.0) {
  return with(spatial_attributes(patch, angle, p_affine, p_affine),
              {{"p_elastic_deform", 1.0},
               {"elastic_deform_scale", Scalar::range(0.05, 0.3)},
               {"elastic_deform_magnitude", Scalar::range(1.0, 3.0)}});
}

// check(x, y, z)
template <typename Check>
void each_voxel(const Index3& shape, Check&& check) {
  for (std::int64_t x = 0; x < shape[0]; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t z = 0; z < shape[2]; ++z) check(x, y, z);
}

}  // namespace fastnnunet::testing
