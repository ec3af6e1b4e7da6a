// An extension of its own, which only pictures load: OpenCV stays out of trainings and predictions.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <exception>
#include <string>

#include "fastnnunet/base/error.h"
#include "fastnnunet/pictures/outlines.h"

namespace py = pybind11;

namespace fastnnunet::bindings {
namespace {

// mask: (rows, columns). Arrays (n, 2) float32 of x (columns) and y (rows), as matplotlib has them.
py::list outline_polygons(const py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>& mask) {
  if (mask.ndim() != 2)
    throw InvalidArgument("outlines", "a mask (rows, columns)", std::to_string(mask.ndim()) + " axes");
  py::list polygons;
  for (const pictures::Outline& outline : pictures::outlines(mask.data(), mask.shape(0), mask.shape(1))) {
    py::array_t<float> points({static_cast<py::ssize_t>(outline.size()), py::ssize_t{2}});
    auto at = points.mutable_unchecked<2>();
    for (py::ssize_t i = 0; i < points.shape(0); ++i) {
      at(i, 0) = outline[static_cast<std::size_t>(i)].column;
      at(i, 1) = outline[static_cast<std::size_t>(i)].row;
    }
    polygons.append(std::move(points));
  }
  return polygons;
}

}  // namespace
}  // namespace fastnnunet::bindings

PYBIND11_MODULE(_pictures, module, py::mod_gil_not_used()) {
  module.doc() = "Pictures of fastnnunet_loader in C++.";
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const fastnnunet::InvalidArgument& error) {
      py::set_error(PyExc_ValueError, error.what());
    }
  });
  module.def("outlines", &fastnnunet::bindings::outline_polygons, py::arg("mask"),
             "Polygons of (x, y) around the areas of a mask.");
}
