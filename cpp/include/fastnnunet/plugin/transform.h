// For transforms that are written in C++ outside of this project: derive from Transform, make a table of it, hand the
// table to Python in a capsule, and register the Python class that stands for it
// (fastnnunet_loader.register_transform). This header and plugin/abi.h need nothing else of the project; C++17 is
// enough. examples/cpp_transform is a whole package that does it.
//
// All of it is compiled into the plug-in. Only the C functions of plugin/abi.h, whose head says what is promised, cross
// from one library to the other; exceptions do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "fastnnunet/plugin/abi.h"

namespace fastnnunet::plugin {
// A name of its own, so that plug-ins that were built with different versions of this header share no function.
inline namespace v1 {

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
  explicit Stream(const fastnnunet_plugin_random& random) : random_(random) {}
  double uniform() { return random_.uniform(random_.state); }                               // [0, 1)
  double normal() { return random_.normal(random_.state); }                                 // standard normal
  std::uint64_t below(std::uint64_t count) { return random_.below(random_.state, count); }  // [0, count)

 private:
  const fastnnunet_plugin_random& random_;
};

// Called from several threads at once, without Python's lock. What a method throws ends the sample with an error that
// names the transform.
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

namespace detail {

inline Geometry geometry_of(const fastnnunet_plugin_geometry& g) {
  return {g.image_channels, g.segmentation_channels, {g.shape[0], g.shape[1], g.shape[2]}, static_cast<int>(g.dims)};
}

// Calls `body`. What it throws becomes a message.
template <typename Body>
int guarded(char* message, std::size_t capacity, const Body& body) noexcept {
  const auto fail = [&](const char* reason) {
    if (capacity == 0) return 1;
    message[0] = '\0';
    std::strncat(message, reason, capacity - 1);
    return 1;
  };
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    return fail(error.what());
  } catch (...) {
    return fail("an exception that is no std::exception");
  }
}

// A table with the transform behind it.
struct Table {
  explicit Table(std::unique_ptr<const Transform> made) : transform(std::move(made)) {
    functions.size = sizeof(functions);
    functions.version = FASTNNUNET_PLUGIN_VERSION;
    functions.self = this;
    functions.parameter_count = [](void* self, const fastnnunet_plugin_geometry* geometry, std::size_t* count,
                                   char* message, std::size_t capacity) {
      return guarded(message, capacity, [&] { *count = of(self).parameter_count(geometry_of(*geometry)); });
    };
    functions.draw = [](void* self, const fastnnunet_plugin_random* random, const fastnnunet_plugin_geometry* geometry,
                        double* parameters, std::size_t, char* message, std::size_t capacity) {
      return guarded(message, capacity, [&] {
        Stream stream(*random);
        of(self).draw(stream, geometry_of(*geometry), parameters);
      });
    };
    functions.acts = [](void* self, const double* parameters, std::size_t count, int* acts, char* message,
                        std::size_t capacity) {
      return guarded(message, capacity, [&] { *acts = of(self).acts(parameters, count) ? 1 : 0; });
    };
    functions.apply = [](void* self, const fastnnunet_plugin_geometry* geometry, const fastnnunet_plugin_voxels* voxels,
                         const double* parameters, std::size_t, const fastnnunet_plugin_random* field, char* message,
                         std::size_t capacity) {
      return guarded(message, capacity, [&] {
        Stream stream(*field);
        of(self).apply({geometry_of(*geometry), voxels->image, voxels->segmentation}, parameters, stream);
      });
    };
  }

  static const Transform& of(void* self) { return *static_cast<const Table*>(self)->transform; }

  fastnnunet_plugin_transform functions{};
  std::unique_ptr<const Transform> transform;
};

}  // namespace detail

// A table for a transform, which it owns; free_table() frees both.
inline fastnnunet_plugin_transform* make_table(std::unique_ptr<const Transform> transform) {
  return &(new detail::Table(std::move(transform)))->functions;
}

// `table` is one that make_table() made.
inline void free_table(const fastnnunet_plugin_transform* table) noexcept {
  delete static_cast<detail::Table*>(table->self);
}

}  // namespace v1
}  // namespace fastnnunet::plugin
