# The core for C++ programs: a shared library that shows what cpp/include declares and hides the rest, its headers, and a
# CMake package (find_package(fastnnunet)). See Note [Public headers] in ARCHITECTURE.md.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# A library has a source of its own, even if all that it holds is the core's.
file(CONFIGURE OUTPUT shared.cpp CONTENT "")
add_library(fastnnunet_shared SHARED ${CMAKE_CURRENT_BINARY_DIR}/shared.cpp)
add_library(fastnnunet::fastnnunet ALIAS fastnnunet_shared)
set_target_properties(fastnnunet_shared PROPERTIES
  OUTPUT_NAME fastnnunet EXPORT_NAME fastnnunet
  # Before 1.0 a minor version may change the interface.
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(fastnnunet_shared PRIVATE "$<LINK_LIBRARY:WHOLE_ARCHIVE,fastnnunet>")
target_compile_features(fastnnunet_shared INTERFACE cxx_std_20)
target_compile_definitions(fastnnunet_shared INTERFACE FASTNNUNET_SHARED)
target_include_directories(fastnnunet_shared INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
if(WIN32)
  target_compile_definitions(fastnnunet PRIVATE FASTNNUNET_EXPORTS)
elseif(NOT APPLE)
  # The static c-blosc2 inside stays ours.
  target_link_options(fastnnunet_shared PRIVATE "-Wl,--exclude-libs,$<TARGET_FILE_NAME:Blosc2Static::blosc2>")
endif()

install(TARGETS fastnnunet_shared EXPORT fastnnunet)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/fastnnunet)
install(EXPORT fastnnunet NAMESPACE fastnnunet:: FILE fastnnunetTargets.cmake DESTINATION ${package_folder})
configure_package_config_file(cmake/fastnnunetConfig.cmake.in fastnnunetConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(fastnnunetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/fastnnunetConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/fastnnunetConfigVersion.cmake
  DESTINATION ${package_folder})
