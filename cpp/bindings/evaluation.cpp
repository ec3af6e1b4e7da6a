#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/evaluation/confusion.h"
#include "fastnnunet/evaluation/ensemble.h"

namespace fastnnunet::bindings {
namespace {

using evaluation::LabelNumbers;

using NumberValues = void (*)(const void* values, std::int64_t first, std::int64_t count, const LabelNumbers& numbers,
                              std::uint16_t* out);

template <typename T>
void number_values(const void* values, std::int64_t first, std::int64_t count, const LabelNumbers& numbers,
                   std::uint16_t* out) {
  evaluation::number_values(static_cast<const T*>(values) + first, count, numbers, out);
}

template <typename T, typename... Others>
NumberValues numbering(const py::array& array) {
  if (py::dtype::of<T>().equal(array.dtype())) return &number_values<T>;
  if constexpr (sizeof...(Others) > 0) {
    return numbering<Others...>(array);
  } else {
    throw InvalidType("count_pairs", "labels as integers, float32 or float64",
                      py::cast<std::string>(py::str(array.dtype())));
  }
}

NumberValues numbering_of(const py::array& array) {
  return numbering<float, double, std::int8_t, std::uint8_t, std::int16_t, std::uint16_t, std::int32_t, std::uint32_t,
                   std::int64_t, std::uint64_t>(array);
}

py::array count_pairs(const py::array& reference, const py::array& prediction,
                      const std::vector<std::int64_t>& labels) {
  const LabelNumbers numbers(labels);
  const NumberValues of_reference = numbering_of(reference), of_prediction = numbering_of(prediction);
  const bool contiguous = (reference.flags() & prediction.flags() & py::array::c_style) != 0;
  const bool fits = reference.ndim() == prediction.ndim() &&
                    std::equal(reference.shape(), reference.shape() + reference.ndim(), prediction.shape());
  if (!fits || !contiguous) throw InvalidArgument("count_pairs", "contiguous arrays of one shape", "others");
  const auto size = static_cast<py::ssize_t>(numbers.size());
  py::array_t<std::int64_t> counts({size, size});
  std::int64_t* out = counts.mutable_data();
  const void *one = reference.data(), *other = prediction.data();
  const std::int64_t voxels = reference.size();
  const py::gil_scoped_release release;
  std::fill_n(out, size * size, 0);
  constexpr std::int64_t kBlock = 4096;
  std::array<std::uint16_t, kBlock> rows, columns;
  for (std::int64_t first = 0; first < voxels; first += kBlock) {
    const std::int64_t count = std::min(kBlock, voxels - first);
    of_reference(one, first, count, numbers, rows.data());
    of_prediction(other, first, count, numbers, columns.data());
    evaluation::count_pairs(rows.data(), columns.data(), count, numbers.size(), out);
  }
  return counts;
}

using Floats = py::array_t<float, py::array::c_style>;
using Labels = py::array_t<std::uint16_t, py::array::c_style>;

void check_sizes(py::ssize_t sums, py::ssize_t others, int models) {
  if (sums != others || models < 1) throw InvalidArgument("ensemble", "arrays of one size, and models", "others");
}

}  // namespace

void add_evaluation(py::module_& module) {
  module.def("count_pairs", &count_pairs, py::arg("reference"), py::arg("prediction"), py::arg("labels"),
             "(labels + 1, labels + 1) of int64; number 0 is every other value.");
  module.def(
      "keep_best",
      [](const Floats& sums, int models, std::uint16_t label, Floats& best, Labels& labels) {
        check_sizes(sums.size(), best.size(), models);
        check_sizes(sums.size(), labels.size(), models);
        const float* in = sums.data();
        float* kept = best.mutable_data();
        std::uint16_t* out = labels.mutable_data();
        const std::int64_t voxels = sums.size();
        const py::gil_scoped_release release;
        evaluation::keep_best(in, voxels, models, label, kept, out);
      },
      py::arg("sums").noconvert(), py::arg("models"), py::arg("label"), py::arg("best").noconvert(),
      py::arg("labels").noconvert());
  module.def(
      "keep_above_half",
      [](const Floats& sums, int models, std::uint16_t label, Labels& labels) {
        check_sizes(sums.size(), labels.size(), models);
        const float* in = sums.data();
        std::uint16_t* out = labels.mutable_data();
        const std::int64_t voxels = sums.size();
        const py::gil_scoped_release release;
        evaluation::keep_above_half(in, voxels, models, label, out);
      },
      py::arg("sums").noconvert(), py::arg("models"), py::arg("label"), py::arg("labels").noconvert());
}

}  // namespace fastnnunet::bindings
