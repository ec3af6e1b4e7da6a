# The LibTorch of the installed torch, to be used through its stable ABI only: one build then serves torch 2.10 and later.
# The interpreter is asked in isolated mode (-I), so that a build in pip's isolated environment sees the torch of the
# environment it is made for. Without a torch the extension is built without pinned memory.
if(NOT TORCH_ROOT)
  find_package(Python 3.10 QUIET COMPONENTS Interpreter)
  if(Python_EXECUTABLE)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -I -c
        "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
      OUTPUT_VARIABLE TORCH_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()

find_path(TorchStable_INCLUDE_DIR torch/csrc/stable/ops.h HINTS ${TORCH_ROOT}/include NO_DEFAULT_PATH)
find_library(TorchStable_LIBRARY torch_cpu HINTS ${TORCH_ROOT}/lib NO_DEFAULT_PATH)
if(TorchStable_INCLUDE_DIR AND EXISTS ${TorchStable_INCLUDE_DIR}/torch/headeronly/version.h)
  file(STRINGS ${TorchStable_INCLUDE_DIR}/torch/headeronly/version.h version_lines
    REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
  string(REGEX REPLACE "[^0-9;]" "" TorchStable_VERSION "${version_lines}")
  string(REPLACE ";" "." TorchStable_VERSION "${TorchStable_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TorchStable REQUIRED_VARS TorchStable_LIBRARY TorchStable_INCLUDE_DIR
  VERSION_VAR TorchStable_VERSION)
if(TorchStable_FOUND AND NOT TARGET TorchStable::torch)
  add_library(TorchStable::torch UNKNOWN IMPORTED)
  set_target_properties(TorchStable::torch PROPERTIES
    IMPORTED_LOCATION ${TorchStable_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${TorchStable_INCLUDE_DIR}
    INTERFACE_COMPILE_DEFINITIONS TORCH_TARGET_VERSION=0x020a000000000000)
endif()
