#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "bindings.h"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/platform/machine.h"

namespace fastnnunet::bindings {

FilePlace to_place(const py::object& place) {
  if (!py::isinstance<py::tuple>(place)) return py::cast<std::filesystem::path>(place);
  const auto told = py::cast<py::tuple>(place);
  FileParts parts;
  parts.size = py::cast<std::uint64_t>(told[1]);
  parts.piece = py::cast<std::uint64_t>(told[2]);
  parts.content = py::cast<std::uint64_t>(told[3]);
  if (!told[4].is_none()) {
    const SharedObject fetch = share(told[4]);
    parts.fetch = [fetch](const std::vector<ByteRange>& ranges) {
      const py::gil_scoped_acquire lock;
      try {
        py::list asked;
        for (const ByteRange& range : ranges) asked.append(py::make_tuple(range.begin, range.end));
        (*fetch)(asked);
      } catch (py::error_already_set& error) {
        raise_storage_error(error);
      }
    };
  }
  return {py::cast<std::filesystem::path>(told[0]), std::move(parts)};
}

void add_platform(py::module_& module) {
  module.def("available_cores", &platform::available_cores,
             "Cores that this process may use (affinity and control groups).");
  module.def("open_file_limit", &platform::open_file_limit, "Files that this process may hold open at once.");
  py::class_<platform::Memory>(module, "Memory", "Bytes of memory that this process may use, and what of them is free.")
      .def_readonly("limit", &platform::Memory::limit)
      .def_readonly("available", &platform::Memory::available)
      .def("__repr__", [](const platform::Memory& m) {
        return "Memory(limit=" + std::to_string(m.limit) + ", available=" + std::to_string(m.available) + ")";
      });
  module.def("memory", [] { return platform::memory(); });
  module.def("simd_target", &simd::target,
             "The instruction set whose loops run, by Highway's name: SSE4, AVX2, AVX3, NEON.");
  module.def("simd_targets", &simd::targets, "What FASTNNUNET_SIMD may name on this processor.");
  module.def("resident_memory", &platform::resident_memory, "Bytes of memory that this process has in use now.");
}

}  // namespace fastnnunet::bindings
