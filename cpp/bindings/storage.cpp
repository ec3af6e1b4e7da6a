#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "fastnnunet/sampling/found_locations.h"
#include "fastnnunet/storage/b2nd/pack.h"
#include "fastnnunet/storage/cache/open_volumes.h"
#include "fastnnunet/storage/element.h"
#include "fastnnunet/storage/memory_volume.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::bindings {
namespace {

// All channels of a box, (C, X, Y, Z).
template <typename T>
py::array_t<T> read(Volume& volume, const Box& box, T outside) {
  const Index3 shape = box.shape();
  py::array_t<T> out({volume.channels(), shape[0], shape[1], shape[2]});
  T* data = out.mutable_data();
  const py::gil_scoped_release release;
  volume.read_channels(box, data, outside);
  return out;
}

storage::PackLayout layout_of(const py::array& array, const storage::Index4& chunks, const storage::Index4& blocks) {
  if (array.ndim() != 4) throw InvalidArgument("array", "4 axes, (C, X, Y, Z)", std::to_string(array.ndim()));
  return {{array.shape(0), array.shape(1), array.shape(2), array.shape(3)}, chunks, blocks};
}

storage::Element element_of(const py::array& array) {
  const auto dtype = py::cast<std::string>(array.dtype().attr("str"));
  const std::optional<storage::Element> element = storage::element_of(dtype);
  if (!element) throw InvalidType("array", "a dtype that this package reads", dtype);
  return *element;
}

// The bytes of a file, kept as long as something in Python looks at them.
class PackedBytes {
 public:
  explicit PackedBytes(storage::Packed packed) : packed_(std::move(packed)) {}
  py::buffer_info buffer() const {
    return {const_cast<std::byte*>(packed_.data()),  // NOLINT(cppcoreguidelines-pro-type-const-cast): read only
            1,
            py::format_descriptor<std::uint8_t>::format(),
            1,
            {static_cast<py::ssize_t>(packed_.size())},
            {py::ssize_t{1}},
            true};
  }
  std::size_t size() const { return packed_.size(); }

 private:
  storage::Packed packed_;
};

void add_packing(py::module_& module) {
  py::class_<PackedBytes>(module, "PackedBytes", py::buffer_protocol(), "The bytes of a .b2nd file, in memory.")
      .def_buffer(&PackedBytes::buffer)
      .def("__len__", &PackedBytes::size);
  module.def(
      "pack_b2nd",
      [](const std::string& file, const py::array& array, const storage::Index4& chunks, const storage::Index4& blocks,
         std::optional<bool> shuffle, int codec, int level, int threads) {
        const py::array voxels = py::array::ensure(array, py::array::c_style);
        if (!voxels) throw py::error_already_set();
        const storage::PackLayout layout = layout_of(voxels, chunks, blocks);
        const storage::Element element = element_of(voxels);
        const storage::PackOptions options{codec, level, shuffle.value_or(false), threads};
        const auto* data = static_cast<const std::byte*>(voxels.data());
        const py::gil_scoped_release release;
        const auto pack = shuffle ? storage::pack_b2nd : storage::pack_smaller;
        return std::make_unique<PackedBytes>(pack(file, data, element, layout, options));
      },
      py::arg("file"), py::arg("array"), py::kw_only(), py::arg("chunks"), py::arg("blocks"),
      py::arg("shuffle") = py::none(), py::arg("codec") = 2, py::arg("level") = 5, py::arg("threads"),
      "(C, X, Y, Z). shuffle None: whichever takes less space, as nnU-Net finds it.");
}

// An array (C, X, Y, Z) as a file; it is not copied, and kept for as long as the file is there.
std::unique_ptr<storage::MemoryFile> memory_file(const std::string& name, const py::array& array) {
  const auto type = py::cast<std::string>(array.dtype().attr("str"));
  const auto element = storage::element_of(type);
  if (!element || array.ndim() != 4)
    throw InvalidArgument(name, "an array (C, X, Y, Z) of numbers in this machine's byte order",
                          std::to_string(array.ndim()) + " axes of '" + type + "'");
  storage::MemoryArray view;
  view.data = static_cast<const std::byte*>(array.data());
  view.element = *element;
  view.channels = array.shape(0);
  view.shape = {array.shape(1), array.shape(2), array.shape(3)};
  view.steps = {array.strides(0), array.strides(1), array.strides(2), array.strides(3)};
  view.owner = share(array);
  return std::make_unique<storage::MemoryFile>(name, std::move(view));
}

}  // namespace

void add_storage(py::module_& module) {
  add_packing(module);
  // What the open files of one thread may keep, in bytes: the budget counts it for every thread.
  module.attr("open_files_memory") = storage::OpenVolumes::kMemory;
  py::class_<Volume>(module, "Volume", "One open image or segmentation, of which boxes of voxels can be read.")
      .def_property_readonly("file", &Volume::file)
      .def_property_readonly("shape",
                             [](const Volume& volume) {
                               const Index3& s = volume.shape();
                               return py::make_tuple(volume.channels(), s[0], s[1], s[2]);
                             })
      .def_property_readonly(
          "tiling",
          [](const Volume& volume) -> py::object {
            const std::optional<Tiling> tiling = volume.tiling();
            if (!tiling) return py::none();
            return py::make_tuple(tiling->chunk, tiling->block);
          },
          "Voxels of a chunk and of a block, (X, Y, Z) each; None where voxels are not compressed.")
      .def(
          "read_image",
          [](Volume& volume, const Index3& lower, const Index3& upper, float outside) {
            return read<float>(volume, {lower, upper}, outside);
          },
          py::arg("lower"), py::arg("upper"), py::arg("outside") = 0.0f)
      .def(
          "read_segmentation",
          [](Volume& volume, const Index3& lower, const Index3& upper, std::int16_t outside) {
            return read<std::int16_t>(volume, {lower, upper}, outside);
          },
          py::arg("lower"), py::arg("upper"), py::arg("outside") = std::int16_t{-1});
  py::class_<storage::MemoryFile>(module, "MemoryFile")
      .def(py::init(&memory_file), py::arg("name"), py::arg("array"))
      .def_property_readonly("path", &storage::MemoryFile::path);
  // [(number in `wanted` or the label, voxels (N, 3) int64), ...]; what the loader's class locations come from where no
  // preprocessing has found them.
  module.def(
      "find_class_locations",
      [](const std::filesystem::path& file, const std::string& member,
         const std::optional<std::vector<std::vector<std::int64_t>>>& wanted, std::optional<std::int64_t> ignored) {
        std::vector<sampling::FoundClass> found;
        {
          const py::gil_scoped_release release;
          const auto volume = open_volume(file, member);
          volume->content();
          found = sampling::find_class_locations(*volume, wanted, ignored);
        }
        py::list classes;
        for (const auto& one : found) {
          py::array_t<std::int64_t> voxels({static_cast<py::ssize_t>(one.voxels.size() / 3), py::ssize_t{3}});
          std::copy(one.voxels.begin(), one.voxels.end(), voxels.mutable_data());
          classes.append(py::make_tuple(one.labels, one.is_annotated, voxels));
        }
        return classes;
      },
      py::arg("file"), py::arg("member") = "seg", py::kw_only(), py::arg("classes") = py::none(),
      py::arg("ignored") = py::none());
  module.def(
      "open_volume",
      [](const py::object& file, const std::string& member) {
        const FilePlace place = to_place(file);
        const py::gil_scoped_release release;
        auto volume = open_volume(place, member);
        volume->content();  // so that it is read on where the file is touched or moved
        return volume;
      },
      py::arg("file"), py::arg("member") = "data");
}

}  // namespace fastnnunet::bindings
