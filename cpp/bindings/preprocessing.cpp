#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/preprocessing/foreground.h"
#include "fastnnunet/preprocessing/locations.h"
#include "fastnnunet/preprocessing/moments.h"
#include "fastnnunet/preprocessing/nonzero.h"
#include "fastnnunet/preprocessing/normalize.h"
#include "fastnnunet/preprocessing/order_statistics.h"
#include "fastnnunet/preprocessing/parts.h"

namespace fastnnunet::bindings {
namespace {

using Image = py::array_t<float, py::array::c_style>;
using Labels = py::array_t<std::int16_t, py::array::c_style>;
using Mask = py::array_t<std::uint8_t, py::array::c_style>;

Index3 shape_of(const char* name, const py::array& array, int axes) {
  if (array.ndim() != axes) throw InvalidArgument(name, std::to_string(axes) + " axes", std::to_string(array.ndim()));
  return {array.shape(axes - 3), array.shape(axes - 2), array.shape(axes - 1)};
}

float* data_of(Image& image) { return image.mutable_data(); }

const std::uint8_t* mask_of(const std::optional<Mask>& mask, const Image& image) {
  if (!mask) return nullptr;
  if (mask->size() != image.size())
    throw InvalidArgument("mask", std::to_string(image.size()) + " voxels", std::to_string(mask->size()));
  return mask->data();
}

py::list rows_of(const std::vector<std::vector<std::int64_t>>& found) {
  py::list result;
  for (const std::vector<std::int64_t>& rows : found) {
    py::array_t<std::int64_t> array({static_cast<py::ssize_t>(rows.size() / 4), py::ssize_t{4}});
    std::copy(rows.begin(), rows.end(), array.mutable_data());
    result.append(array);
  }
  return result;
}

// Contiguous arrays of float32 or int16.
preprocessing::Parts parts_of(const std::vector<py::array>& arrays) {
  std::vector<preprocessing::Part> parts;
  for (const py::array& array : arrays) {
    preprocessing::Part part;
    part.count = array.size();
    if (py::isinstance<Image>(array))
      part.values = static_cast<const float*>(array.data());
    else if (py::isinstance<Labels>(array))
      part.whole = static_cast<const std::int16_t*>(array.data());
    else
      throw InvalidArgument("values", "contiguous float32 or int16", py::cast<std::string>(py::str(array.dtype())));
    parts.push_back(part);
  }
  return preprocessing::Parts(std::move(parts));
}

}  // namespace

void add_preprocessing(py::module_& module) {
  module.def(
      "nonzero_box",
      [](const Image& image, int threads) {
        const Index3 shape = shape_of("image", image, 4);
        const float* data = image.data();
        const std::int64_t channels = image.shape(0);
        const py::gil_scoped_release release;
        const Box box = preprocessing::nonzero_box(data, channels, shape, threads);
        return std::pair(box.lower, box.upper);
      },
      py::arg("image"), py::kw_only(), py::arg("threads"), "(C, X, Y, Z) of float32 to lower and upper corner.");
  module.def(
      "nonzero_mask",
      [](const Image& image, int threads) -> std::optional<Mask> {
        const Index3 shape = shape_of("image", image, 4);
        Mask mask({shape[0], shape[1], shape[2]});
        const float* data = image.data();
        std::uint8_t* to = mask.mutable_data();
        const std::int64_t channels = image.shape(0);
        bool full = false;
        {
          const py::gil_scoped_release release;
          full = preprocessing::nonzero_mask(data, channels, shape, threads, to);
        }
        if (full) return std::nullopt;
        return mask;
      },
      py::arg("image"), py::kw_only(), py::arg("threads"), "(X, Y, Z) of 0 and 1, holes filled; None: 1 everywhere.");
  module.def(
      "fill_holes",
      [](Mask& mask) {
        const Index3 shape = shape_of("mask", mask, 3);
        std::uint8_t* data = mask.mutable_data();
        const py::gil_scoped_release release;
        preprocessing::fill_holes(data, shape);
      },
      py::arg("mask").noconvert(), "In place, (X, Y, Z) of 0 and 1.");
  module.def(
      "normalize_z_score",
      [](Image& image, const std::optional<Mask>& mask, int threads) {
        const std::uint8_t* inside = mask_of(mask, image);
        float* data = data_of(image);
        const std::int64_t count = image.size();
        const py::gil_scoped_release release;
        preprocessing::normalize_z_score(data, count, inside, threads);
      },
      py::arg("image").noconvert(), py::arg("mask"), py::kw_only(), py::arg("threads"));
  module.def(
      "normalize_ct",
      [](Image& image, float lower, float upper, float mean, float deviation, int threads) {
        float* data = data_of(image);
        const std::int64_t count = image.size();
        const py::gil_scoped_release release;
        preprocessing::normalize_ct(data, count, lower, upper, mean, deviation, threads);
      },
      py::arg("image").noconvert(), py::kw_only(), py::arg("lower"), py::arg("upper"), py::arg("mean"),
      py::arg("deviation"), py::arg("threads"));
  module.def(
      "normalize_rescale",
      [](Image& image, int threads) {
        float* data = data_of(image);
        const std::int64_t count = image.size();
        const py::gil_scoped_release release;
        preprocessing::normalize_rescale(data, count, threads);
      },
      py::arg("image").noconvert(), py::kw_only(), py::arg("threads"));
  module.def(
      "normalize_rgb",
      [](Image& image, int threads) {
        float* data = data_of(image);
        const std::int64_t count = image.size();
        const py::gil_scoped_release release;
        return preprocessing::normalize_rgb(data, count, threads);
      },
      py::arg("image").noconvert(), py::kw_only(), py::arg("threads"));
  module.def(
      "sample_locations",
      [](const Labels& labels, const std::vector<std::vector<int>>& classes, std::uint32_t seed, std::int64_t least,
         double least_coverage) {
        const Index3 shape = shape_of("labels", labels, 3);
        const std::int16_t* data = labels.data();
        std::vector<std::vector<std::int64_t>> found;
        {
          const py::gil_scoped_release release;
          found = preprocessing::sample_locations(data, shape, classes, {seed, least, least_coverage});
        }
        return rows_of(found);
      },
      py::arg("labels").noconvert(), py::arg("classes"), py::kw_only(), py::arg("seed") = 1234u,
      py::arg("least") = 10000, py::arg("least_coverage") = 0.01, "(n, 4) of int64 for each class.");
  module.def(
      "draw_foreground",
      [](const Image& image, const Image& labels, std::int64_t samples, std::uint32_t seed) {
        const Index3 shape = shape_of("image", image, 4);
        if (shape_of("labels", labels, 3) != shape)
          throw InvalidArgument("labels", "the shape of the image", "another");
        if (samples < 0) throw InvalidArgument("samples", "0 or more", std::to_string(samples));
        const std::int64_t channels = image.shape(0);
        const float* voxels = image.data();
        const float* of = labels.data();
        py::list drawn;
        const auto place = [&](bool whole) {
          const py::gil_scoped_acquire acquire;
          preprocessing::Drawn out;
          if (whole) {
            Labels array(samples);
            out.whole = array.mutable_data();
            drawn.append(array);
          } else {
            Image array(samples);
            out.values = array.mutable_data();
            drawn.append(array);
          }
          return out;
        };
        {
          const py::gil_scoped_release release;
          preprocessing::draw_foreground(voxels, channels, of, shape, seed, samples, place);
        }
        return drawn;
      },
      py::arg("image").noconvert(), py::arg("labels").noconvert(), py::kw_only(), py::arg("samples"),
      py::arg("seed") = 1234u,
      "An array for each channel, of int16 where its foreground is whole numbers; none without foreground.");
  module.def(
      "order_statistics",
      [](const std::vector<py::array>& values, const std::vector<std::int64_t>& ranks, int threads) {
        const preprocessing::Parts parts = parts_of(values);
        const py::gil_scoped_release release;
        return preprocessing::order_statistics(parts, ranks, threads);
      },
      py::arg("values"), py::arg("ranks"), py::kw_only(), py::arg("threads"));
  module.def(
      "moments",
      [](const std::vector<py::array>& values) {
        const preprocessing::Parts parts = parts_of(values);
        const auto found = [&] {
          const py::gil_scoped_release release;
          return preprocessing::moments(parts);
        }();
        return py::make_tuple(found.mean, found.deviation, found.least, found.most);
      },
      py::arg("values"), "Mean, standard deviation, minimum and maximum, as NumPy finds them of float32.");
}

}  // namespace fastnnunet::bindings
