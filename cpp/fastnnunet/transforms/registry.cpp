// The one table of native transforms. A transform is added by its file and its line here.
#include <algorithm>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::transforms {

// Each is defined in the file of its name.
std::unique_ptr<Transform> make_apply_random_binary_operator(const Record&);
std::unique_ptr<Transform> make_blank_rectangle(const Record&);
std::unique_ptr<Transform> make_brightness_additive(const Record&);
std::unique_ptr<Transform> make_brightness_gradient_additive(const Record&);
std::unique_ptr<Transform> make_channel_misalignment(const Record&);
std::unique_ptr<Transform> make_contrast(const Record&);
std::unique_ptr<Transform> make_convert_2d_to_3d(const Record&);
std::unique_ptr<Transform> make_convert_3d_to_2d(const Record&);
std::unique_ptr<Transform> make_convert_segmentation_to_regions(const Record&);
std::unique_ptr<Transform> make_cut_off_outliers(const Record&);
std::unique_ptr<Transform> make_downsample_seg_for_ds(const Record&);
std::unique_ptr<Transform> make_gamma(const Record&);
std::unique_ptr<Transform> make_gaussian_blur(const Record&);
std::unique_ptr<Transform> make_gaussian_noise(const Record&);
std::unique_ptr<Transform> make_invert_image(const Record&);
std::unique_ptr<Transform> make_local_contrast(const Record&);
std::unique_ptr<Transform> make_local_gamma(const Record&);
std::unique_ptr<Transform> make_local_smoothing(const Record&);
std::unique_ptr<Transform> make_mask_image(const Record&);
std::unique_ptr<Transform> make_median_filter(const Record&);
std::unique_ptr<Transform> make_mirror(const Record&);
std::unique_ptr<Transform> make_move_channels(const Record&);
std::unique_ptr<Transform> make_move_seg_as_one_hot_to_data(const Record&);
std::unique_ptr<Transform> make_multiplicative_brightness(const Record&);
std::unique_ptr<Transform> make_remove_label(const Record&);
std::unique_ptr<Transform> make_remove_random_connected_component(const Record&);
std::unique_ptr<Transform> make_rician_noise(const Record&);
std::unique_ptr<Transform> make_rot90(const Record&);
std::unique_ptr<Transform> make_sharpening(const Record&);
std::unique_ptr<Transform> make_simulate_low_resolution(const Record&);
std::unique_ptr<Transform> make_spatial(const Record&);
std::unique_ptr<Transform> make_transpose_axes(const Record&);

const std::vector<TransformEntry>& transform_table() {
  static const std::vector<TransformEntry> table = {
      {"ApplyRandomBinaryOperatorTransform", make_apply_random_binary_operator},
      {"BlankRectangleTransform", make_blank_rectangle},
      {"BrightnessAdditiveTransform", make_brightness_additive},
      {"BrightnessGradientAdditiveTransform", make_brightness_gradient_additive},
      {"ChannelMisalignmentTransform", make_channel_misalignment},
      {"ContrastTransform", make_contrast},
      {"Convert2DTo3DTransform", make_convert_2d_to_3d},
      {"Convert3DTo2DTransform", make_convert_3d_to_2d},
      {"ConvertSegmentationToRegionsTransform", make_convert_segmentation_to_regions},
      {"CutOffOutliersTransform", make_cut_off_outliers},
      {"DownsampleSegForDSTransform", make_downsample_seg_for_ds},
      {"GammaTransform", make_gamma},
      {"GaussianBlurTransform", make_gaussian_blur},
      {"GaussianNoiseTransform", make_gaussian_noise},
      {"InvertImageTransform", make_invert_image},
      {"LocalContrastTransform", make_local_contrast},
      {"LocalGammaTransform", make_local_gamma},
      {"LocalSmoothingTransform", make_local_smoothing},
      {"MaskImageTransform", make_mask_image},
      {"MedianFilterTransform", make_median_filter},
      {"MirrorTransform", make_mirror},
      {"MoveChannelsTransform", make_move_channels},
      {"MoveSegAsOneHotToDataTransform", make_move_seg_as_one_hot_to_data},
      {"MultiplicativeBrightnessTransform", make_multiplicative_brightness},
      {"RemoveLabelTransform", make_remove_label},
      {"RemoveRandomConnectedComponentFromOneHotEncodingTransform", make_remove_random_connected_component},
      {"RicianNoiseTransform", make_rician_noise},
      {"Rot90Transform", make_rot90},
      {"SharpeningTransform", make_sharpening},
      {"SimulateLowResolutionTransform", make_simulate_low_resolution},
      {"SpatialTransform", make_spatial},
      {"TransposeAxesTransform", make_transpose_axes},
  };
  return table;
}

std::unique_ptr<Transform> make_transform(std::string_view name, const Record& attributes) {
  const auto& table = transform_table();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const TransformEntry& entry) { return entry.name == name; });
  if (found == table.end()) throw InvalidArgument("pipeline", "the name of a native transform", name);
  return found->make(attributes);
}

}  // namespace fastnnunet::transforms
