# OpenCV's core and imgproc. OpenCV's own configuration, where there is one, wants every module of it; Debian's packages of these
# two modules come without.
find_path(OpenCV_INCLUDE_DIR opencv2/imgproc.hpp HINTS ${OpenCV_ROOT} PATH_SUFFIXES opencv4)
find_library(OpenCV_core_LIBRARY NAMES opencv_core opencv_core4 HINTS ${OpenCV_ROOT})
find_library(OpenCV_imgproc_LIBRARY NAMES opencv_imgproc opencv_imgproc4 HINTS ${OpenCV_ROOT})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenCV
  REQUIRED_VARS OpenCV_core_LIBRARY OpenCV_imgproc_LIBRARY OpenCV_INCLUDE_DIR)
if(OpenCV_FOUND AND NOT TARGET opencv_core)
  foreach(module core imgproc)
    add_library(opencv_${module} UNKNOWN IMPORTED)
    set_target_properties(opencv_${module} PROPERTIES
      IMPORTED_LOCATION ${OpenCV_${module}_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${OpenCV_INCLUDE_DIR})
  endforeach()
  target_link_libraries(opencv_imgproc INTERFACE opencv_core)
  if(OpenCV_core_LIBRARY MATCHES "\\.(a|lib)$")  # a static library has its functions of zlib from elsewhere
    find_package(ZLIB REQUIRED)
    target_link_libraries(opencv_core INTERFACE ZLIB::ZLIB)
  endif()
endif()
