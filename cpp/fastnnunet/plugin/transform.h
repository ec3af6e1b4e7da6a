// For transforms that are written in C++ outside of this project: derive from Transform, hand it to Python in a
// capsule, and register the Python class that stands for it (fastnnunet_loader.register_transform). This header needs
// nothing else of the project. examples/cpp_transform is a whole package that does it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnnunet::plugin {

// Transforms and the exceptions that they throw cross from one library to the other as C++ has them: both must have
// been built with the same C++ runtime. Any versions of GCC and Clang will do.
#if defined(_MSC_VER)
#define FASTNNUNET_PLUGIN_RUNTIME "msvc"
#elif defined(_LIBCPP_VERSION)
#define FASTNNUNET_PLUGIN_RUNTIME "libc++"
#elif defined(__GLIBCXX__)
#define FASTNNUNET_PLUGIN_RUNTIME "libstdc++"
#else
#define FASTNNUNET_PLUGIN_RUNTIME "unknown"
#endif

// Name of the PyCapsule that holds a `Transform*`; its number changes whenever this header does. A transform that was
// built with another runtime has another name, and is refused by it.
inline constexpr const char* kCapsule = "fastnnunet_loader.plugin.Transform.2/" FASTNNUNET_PLUGIN_RUNTIME;

struct Geometry {
  std::int64_t image_channels;
  std::int64_t segmentation_channels;  // 0 where there is no segmentation
  std::int64_t shape[3];               // X, Y, Z; a 2D sample has X = 1
  int dims;                            // spatial axes that count, the last ones of `shape`: 2 or 3
};

struct Voxels {
  Geometry geometry;
  float* image;                // (C, X, Y, Z), C-contiguous
  std::int16_t* segmentation;  // (C', X, Y, Z), C-contiguous; null where there is none, or where it is regions already
};

// Random numbers that are a function of the sample: use no others, or batches depend on threads.
class Stream {
 public:
  virtual double uniform() = 0;                          // [0, 1)
  virtual double normal() = 0;                           // standard normal
  virtual std::uint64_t below(std::uint64_t count) = 0;  // [0, count)

 protected:
  ~Stream() = default;
};

// Called from several threads at once. What a method throws ends the sample with an error that names the transform.
class Transform {
 public:
  virtual ~Transform() = default;

  // How many numbers describe one application.
  virtual std::size_t parameter_count(const Geometry& geometry) const = 0;
  // Draws them. There are no voxels yet.
  virtual void draw(Stream& stream, const Geometry& geometry, double* parameters) const = 0;
  // False where these parameters change nothing: apply() is then not called, and voxels are not touched.
  virtual bool acts(const double* /*parameters*/, std::size_t /*count*/) const { return true; }
  // In place; the shape stays. `field` is for random numbers that no parameter stands for, such as noise.
  virtual void apply(const Voxels& voxels, const double* parameters, Stream& field) const = 0;
};

}  // namespace fastnnunet::plugin
