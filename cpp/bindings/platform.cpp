#include <pybind11/stl.h>

#include "bindings.h"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/platform/machine.h"

namespace fastnnunet::bindings {

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
