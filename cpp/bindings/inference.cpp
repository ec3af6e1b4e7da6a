#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/inference/segmentation.h"

namespace fastnnunet::bindings {
namespace {

constexpr const char* kPlace = "logits_to_segmentation";

std::string dtype_name(const py::array& array) { return py::cast<std::string>(py::str(array.dtype())); }

inference::Logits logits_of(const py::array& array) {
  if (array.ndim() != 4) throw InvalidArgument(kPlace, "logits (C, X, Y, Z)", std::to_string(array.ndim()) + " axes");
  inference::Logits logits;
  if (array.dtype().equal(py::dtype::of<float>()))
    logits.type = inference::LogitType::float32;
  else if (array.dtype().equal(py::dtype("float16")))
    logits.type = inference::LogitType::float16;
  else
    throw InvalidType(kPlace, "logits of float32 or float16", dtype_name(array));
  const py::ssize_t item = array.itemsize();
  if (array.strides(3) != item && array.shape(3) > 1)
    throw InvalidArgument(kPlace, "logits whose Z is contiguous", std::to_string(array.strides(3)) + " bytes apart");
  logits.data = array.data();
  logits.channels = array.shape(0);
  logits.shape = {array.shape(1), array.shape(2), array.shape(3)};
  logits.channel_stride = array.strides(0) / item;
  logits.x_stride = array.strides(1) / item;
  logits.y_stride = array.strides(2) / item;
  return logits;
}

inference::Probabilities probabilities_of(py::array& array, std::int64_t channels, const Index3& shape) {
  if (!array.dtype().equal(py::dtype::of<float>()))
    throw InvalidType(kPlace, "probabilities of float32", dtype_name(array));
  const bool fits = array.ndim() == 4 && array.shape(0) == channels && array.shape(1) == shape[0] &&
                    array.shape(2) == shape[1] && array.shape(3) == shape[2];
  if (!fits || !array.writeable())
    throw InvalidArgument(kPlace, "writable probabilities of a channel for each of the logits' and the image's shape",
                          "another array");
  inference::Probabilities target;
  target.data = static_cast<float*>(array.mutable_data());
  for (int axis = 0; axis < 4; ++axis) target.strides[axis] = array.strides(axis) / array.itemsize();
  return target;
}

void check_image(const Index3& shape) {
  for (const std::int64_t size : shape)
    if (size < 1) throw InvalidArgument(kPlace, "an image of positive sizes", std::to_string(size));
}

// Zeros of NumPy's take no memory before they are written to.
template <typename Label>
py::array_t<Label> zeros(const Index3& shape) {
  const py::object zeros = py::module_::import("numpy").attr("zeros");
  return zeros(py::make_tuple(shape[0], shape[1], shape[2]), py::dtype::of<Label>());
}

bool fits_a_byte(std::int64_t channels, const std::vector<std::int64_t>& regions) {
  return (regions.empty() ? channels - 1 : *std::max_element(regions.begin(), regions.end())) < 255;
}

template <typename Label>
py::array segmentation(const inference::Logits& logits, const inference::SegmentationOptions& options,
                       const inference::Probabilities* probabilities) {
  py::array_t<Label> out = zeros<Label>(options.image_shape);
  Label* data = out.mutable_data();
  const py::gil_scoped_release release;
  inference::segmentation_from_logits(logits, options, data, probabilities);
  return out;
}

py::array logits_to_segmentation(const py::array& array, const Index3& new_shape, int axis,
                                 const std::vector<std::int64_t>& regions, const Index3& offset,
                                 const Index3& image_shape, std::optional<py::array> probabilities, int threads) {
  const inference::Logits logits = logits_of(array);
  check_image(image_shape);
  const inference::SegmentationOptions options{new_shape, axis, image_shape, offset, regions, threads};
  std::optional<inference::Probabilities> target;
  if (probabilities) target = probabilities_of(*probabilities, logits.channels, image_shape);
  const inference::Probabilities* pointer = target ? &*target : nullptr;
  if (fits_a_byte(logits.channels, regions)) return segmentation<std::uint8_t>(logits, options, pointer);
  return segmentation<std::uint16_t>(logits, options, pointer);
}

// Keeps the arrays that it writes to.
class Stream {
 public:
  Stream(std::int64_t channels, const Index3& shape, int along, const Index3& new_shape, int axis,
         const std::vector<std::int64_t>& regions, const Index3& offset, const Index3& image_shape,
         std::optional<py::array> probabilities, int threads)
      : probabilities_(std::move(probabilities)) {
    check_image(image_shape);
    const inference::SegmentationOptions options{new_shape, axis, image_shape, offset, regions, threads};
    std::optional<inference::Probabilities> target;
    if (probabilities_) target = probabilities_of(*probabilities_, channels, image_shape);
    const inference::Probabilities* pointer = target ? &*target : nullptr;
    if (fits_a_byte(channels, regions))
      begin(bytes_, channels, shape, along, options, pointer);
    else
      begin(words_, channels, shape, along, options, pointer);
  }

  std::int64_t add(const py::array& array, std::int64_t first) {
    const inference::Logits logits = logits_of(array);
    const py::gil_scoped_release release;
    if (bytes_) {
      bytes_->add(logits, first);
      return bytes_->needed();
    }
    words_->add(logits, first);
    return words_->needed();
  }

  bool complete() const { return bytes_ ? bytes_->complete() : words_->complete(); }
  py::array segmentation() const { return out_; }

 private:
  template <typename Label>
  void begin(std::optional<inference::SegmentationStream<Label>>& stream, std::int64_t channels, const Index3& shape,
             int along, const inference::SegmentationOptions& options, const inference::Probabilities* probabilities) {
    py::array_t<Label> out = zeros<Label>(options.image_shape);
    Label* data = out.mutable_data();
    out_ = std::move(out);
    const py::gil_scoped_release release;
    stream.emplace(channels, shape, along, options, data, probabilities);
  }

  std::optional<py::array> probabilities_;
  py::array out_;
  std::optional<inference::SegmentationStream<std::uint8_t>> bytes_;
  std::optional<inference::SegmentationStream<std::uint16_t>> words_;
};

}  // namespace

void add_inference(py::module_& module) {
  module.def("logits_to_segmentation", &logits_to_segmentation, py::arg("logits"), py::arg("new_shape"), py::kw_only(),
             py::arg("axis"), py::arg("regions"), py::arg("offset"), py::arg("image_shape"),
             py::arg("probabilities").none(true), py::arg("threads"), "axis -1: none. regions empty: classes.");
  py::class_<Stream>(module, "SegmentationStream")
      .def(py::init<std::int64_t, const Index3&, int, const Index3&, int, const std::vector<std::int64_t>&,
                    const Index3&, const Index3&, std::optional<py::array>, int>(),
           py::kw_only(), py::arg("channels"), py::arg("shape"), py::arg("along"), py::arg("new_shape"),
           py::arg("axis"), py::arg("regions"), py::arg("offset"), py::arg("image_shape"),
           py::arg("probabilities").none(true), py::arg("threads"))
      .def("add", &Stream::add, py::arg("logits"), py::arg("first"))
      .def_property_readonly("complete", &Stream::complete)
      .def_property_readonly("segmentation", &Stream::segmentation);
}

}  // namespace fastnnunet::bindings
