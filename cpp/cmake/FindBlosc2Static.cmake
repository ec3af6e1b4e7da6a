# The static c-blosc2 and its headers: from BLOSC2_ROOT, or from the PyPI package `blosc2`, whose wheels carry both.
#
# Versions before 3.3.3 (package: 4.12) write out of bounds when they decompress damaged BloscLZ; of what else is known, up
# to 3.3.0, nothing is on our way, which is blosc2_getitem_ctx() behind checks of our own. As Python 3.10 has no later package
# than 4.3.3, older ones are taken; storage/b2nd/chunk.cpp then refuses chunks that have room for such damage.
if(NOT BLOSC2_ROOT)
  find_package(Python 3.10 QUIET COMPONENTS Interpreter)
  if(Python_EXECUTABLE)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
        "import importlib.util as u; print(u.find_spec('blosc2').submodule_search_locations[0])"
      OUTPUT_VARIABLE BLOSC2_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()

find_path(Blosc2Static_INCLUDE_DIR b2nd.h HINTS ${BLOSC2_ROOT} PATH_SUFFIXES include)
# Where a file name has no prefix of its own, blosc2.lib is that of the DLL.
find_library(Blosc2Static_LIBRARY NAMES libblosc2.a libblosc2 blosc2 HINTS ${BLOSC2_ROOT} PATH_SUFFIXES lib lib64)

if(Blosc2Static_INCLUDE_DIR)
  file(STRINGS ${Blosc2Static_INCLUDE_DIR}/blosc2.h blosc2_version REGEX "define BLOSC2_VERSION_STRING")
  string(REGEX REPLACE ".*\"([0-9.]+).*" "\\1" Blosc2Static_VERSION "${blosc2_version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Blosc2Static REQUIRED_VARS Blosc2Static_LIBRARY Blosc2Static_INCLUDE_DIR
  VERSION_VAR Blosc2Static_VERSION
  REASON_FAILURE_MESSAGE "Install the Python package blosc2 or set BLOSC2_ROOT.")
if(Blosc2Static_FOUND AND NOT TARGET Blosc2Static::blosc2)
  add_library(Blosc2Static::blosc2 UNKNOWN IMPORTED)
  set_target_properties(Blosc2Static::blosc2 PROPERTIES
    IMPORTED_LOCATION ${Blosc2Static_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${Blosc2Static_INCLUDE_DIR})
  target_link_libraries(Blosc2Static::blosc2 INTERFACE Threads::Threads ${CMAKE_DL_LIBS})
endif()
