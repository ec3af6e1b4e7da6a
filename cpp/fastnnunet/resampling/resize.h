// Images and segmentations in another size, as nnU-Net's preprocessing makes them (resample_data_or_seg, which rests on
// scikit-image's resize with mode 'edge').
#pragma once

#include <cstdint>

#include "fastnnunet/base/box.h"

namespace fastnnunet::resampling {

struct ResizeOptions {
  int order = 3;      // of the spline: 0 (nearest), 1 (linear) or 3 (cubic)
  int separate = -1;  // the axis of thick slices: each slice is resized in its plane, then the axis on its own
  int order_z = 0;    // of that axis: 0, 1 or 3
  int threads = 1;
};

// One channel: image (X, Y, Z) of `from`, out (X, Y, Z) of `to`. Cubic values are cut to the range of the image, or of
// the slice where slices are resized on their own. One NaN makes all of a cubic image, or slice, NaN. Throws
// InvalidArgument for sizes below 1, orders and axes that do not exist.
void resize_image(const float* image, const Index3& from, const Index3& to, const ResizeOptions& options, float* out);

// One channel. Order 1: the label with the most interpolated weight; among equals the nearest voxel's, else the lowest.
// T: std::int8_t, std::uint8_t, std::int16_t, std::uint16_t, std::int32_t, std::int64_t or float. Throws
// InvalidArgument as above, and for orders above 1 and an order_z other than 0.
template <typename T>
void resize_labels(const T* labels, const Index3& from, const Index3& to, const ResizeOptions& options, T* out);

}  // namespace fastnnunet::resampling
