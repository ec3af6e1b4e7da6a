#include <pybind11/stl.h>

#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/resampling/resize.h"

namespace fastnnunet::bindings {
namespace {

// (C, X, Y, Z) in and out; a channel at a time.
template <typename T, typename Resize>
py::array resized(const py::array& array, const Index3& to, Resize&& resize) {
  const auto in = py::array_t<T, py::array::c_style>::ensure(array);
  if (!in) throw py::error_already_set();
  const std::int64_t channels = in.shape(0);
  const Index3 from{in.shape(1), in.shape(2), in.shape(3)};
  py::array_t<T> out({channels, to[0], to[1], to[2]});
  const T* source = in.data();
  T* target = out.mutable_data();
  const py::gil_scoped_release release;
  for (std::int64_t c = 0; c < channels; ++c) resize(source + c * voxels(from), from, target + c * voxels(to));
  return out;
}

template <typename T>
bool holds(const py::array& array) {
  return py::dtype::of<T>().equal(array.dtype());
}

py::array resample_image(const py::array& array, const Index3& to, const resampling::ResizeOptions& options) {
  if (!holds<float>(array))
    throw InvalidType("resample", "an image of float32", py::cast<std::string>(py::str(array.dtype())));
  return resized<float>(array, to, [&](const float* in, const Index3& from, float* out) {
    resampling::resize_image(in, from, to, options, out);
  });
}

template <typename T, typename... Others>
py::array resample_labels(const py::array& array, const Index3& to, const resampling::ResizeOptions& options) {
  if (holds<T>(array))
    return resized<T>(array, to, [&](const T* in, const Index3& from, T* out) {
      resampling::resize_labels(in, from, to, options, out);
    });
  if constexpr (sizeof...(Others) > 0) {
    return resample_labels<Others...>(array, to, options);
  } else {
    throw InvalidType("resample", "a segmentation of int8, uint8, int16, uint16, int32, int64 or float32",
                      py::cast<std::string>(py::str(array.dtype())));
  }
}

}  // namespace

void add_resampling(py::module_& module) {
  module.def(
      "resample",
      [](const py::array& array, const Index3& new_shape, int order, bool is_seg, int axis, int order_z, int threads) {
        if (array.ndim() != 4)
          throw InvalidArgument("resample", "an array (C, X, Y, Z)", std::to_string(array.ndim()) + " axes");
        // Shapes are checked before memory of their size is asked for.
        for (const std::int64_t size : new_shape)
          if (size < 1) throw InvalidArgument("resample", "a new shape of positive sizes", std::to_string(size));
        const resampling::ResizeOptions options{order, axis, order_z, threads};
        if (!is_seg) return resample_image(array, new_shape, options);
        return resample_labels<std::int8_t, std::uint8_t, std::int16_t, std::uint16_t, std::int32_t, std::int64_t,
                               float>(array, new_shape, options);
      },
      py::arg("array"), py::arg("new_shape"), py::kw_only(), py::arg("order"), py::arg("is_seg"), py::arg("axis"),
      py::arg("order_z"), py::arg("threads"), "axis -1: none.");
}

}  // namespace fastnnunet::bindings
