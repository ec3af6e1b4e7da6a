// Attributes for transforms.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "transforms/local/local_kernels.h"
#include "transforms/spatial/attributes.h"

namespace fastnnunet::testing {

inline Record spatial(double p_rotation, double p_elastic, const char* labels) {
  return with(
      spatial_attributes({17, 21, 21}, 1, p_rotation, 1),
      {{"p_synchronize_scaling_across_axes", 0.0}, {"p_elastic_deform", p_elastic}, {"mode_seg", std::string(labels)}});
}

// Every transform that nnU-Net's trees do not have, or not with these options.
inline std::vector<std::pair<std::string, Record>> example_leaves() {
  Record gradient = local_attributes("max_strength", Scalar::range(1, 5));
  gradient.set("mean_centered", true);
  gradient.set("clip_intensities", true);
  Record smoothing = local_attributes("smoothing_strength", Scalar::range(0.5, 1));
  smoothing.set("kernel_size", Scalar::range(0.5, 1.5));
  const Rows sizes = {{2, 6}, {2, 6}, {2, 6}};
  return {
      {"SpatialTransform", spatial(0, 0, "bilinear")},
      {"SpatialTransform", spatial(1, 0, "nearest")},
      {"SpatialTransform", spatial(1, 1, "bilinear")},
      {"BlankRectangleTransform", record({{"rectangle_size", sizes},
                                          {"square", false},
                                          {"rectangle_value", Scalar::range(-1, 1)},
                                          {"statistic", std::monostate{}},
                                          {"num_rectangles", Numbers{1, 5}},
                                          {"p_per_channel", 1.0}})},
      {"BrightnessAdditiveTransform",
       record({{"mu", 0.0}, {"sigma", 0.5}, {"synchronize_channels", false}, {"p_per_channel", 1.0}})},
      {"BrightnessGradientAdditiveTransform", gradient},
      {"ChannelMisalignmentTransform", record({{"im_channels_2_misalign", Numbers{0}},
                                               {"squeezingZYX", Numbers{0.1, 0.2, 0.3}},
                                               {"p_squeeze", 1.0},
                                               {"rotation_ax_cor_sag", Numbers{0.1, 0.2, 0.3}},
                                               {"p_rotation", 1.0},
                                               {"shiftZYX", Numbers{1, 2, 3}},
                                               {"p_shift", 1.0}})},
      {"CutOffOutliersTransform", record({{"percentile_lower", Scalar::range(1, 5)},
                                          {"percentile_upper", Scalar::range(90, 99)},
                                          {"p_synchronize_channels", false},
                                          {"p_per_channel", 1.0},
                                          {"p_retain_std", 1.0}})},
      {"InvertImageTransform",
       record({{"p_invert_image", 1.0}, {"p_synchronize_channels", 1.0}, {"p_per_channel", 1.0}})},
      {"LocalContrastTransform", local_attributes("new_contrast", Scalar::range(0.5, 1.5))},
      {"LocalGammaTransform", local_attributes("gamma", Scalar::range(0.3, 2))},
      {"LocalSmoothingTransform", smoothing},
      {"MaskImageTransform",
       record({{"apply_to_channels", Numbers{1}}, {"channel_idx_in_seg", 0.0}, {"set_outside_to", 0.5}})},
      {"MedianFilterTransform",
       record({{"filter_size", Numbers{2, 8}}, {"p_same_for_each_channel", 0.0}, {"p_per_channel", 1.0}})},
      {"MoveChannelsTransform", record({{"channel_ids", Numbers{0}},
                                        {"source_key", std::string("segmentation")},
                                        {"target_key", std::string("image")}})},
      {"RicianNoiseTransform", record({{"noise_variance", Numbers{0, 0.1}}})},
      {"Rot90Transform", record({{"num_axis_combinations", Scalar::constant(1)},
                                 {"num_rot_per_combination", Numbers{1, 2, 3}},
                                 {"allowed_axes", Numbers{1, 2}}})},
      {"SharpeningTransform", record({{"strength", Scalar::range(0.1, 1)},
                                      {"p_same_for_each_channel", 0.0},
                                      {"p_per_channel", 1.0},
                                      {"p_clamp_intensities", 1.0}})},
      {"TransposeAxesTransform", record({{"allowed_axes", Numbers{1, 2}}})},
  };
}

}  // namespace fastnnunet::testing
