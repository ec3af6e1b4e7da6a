# The static c-blosc2 and its headers: from BLOSC2_ROOT, or from the PyPI package `blosc2`, whose wheels carry both.
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
find_library(Blosc2Static_LIBRARY NAMES libblosc2.a blosc2 HINTS ${BLOSC2_ROOT} PATH_SUFFIXES lib lib64)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Blosc2Static REQUIRED_VARS Blosc2Static_LIBRARY Blosc2Static_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "Install the Python package blosc2 or set BLOSC2_ROOT.")
if(Blosc2Static_FOUND AND NOT TARGET Blosc2Static::blosc2)
  add_library(Blosc2Static::blosc2 UNKNOWN IMPORTED)
  set_target_properties(Blosc2Static::blosc2 PROPERTIES
    IMPORTED_LOCATION ${Blosc2Static_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${Blosc2Static_INCLUDE_DIR})
  target_link_libraries(Blosc2Static::blosc2 INTERFACE Threads::Threads ${CMAKE_DL_LIBS})
endif()
