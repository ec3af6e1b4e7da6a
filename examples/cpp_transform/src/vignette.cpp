// Darkens an image towards its corners, as a lens or a coil does: v * (1 - strength * r^2), r being the distance from a
// random centre, 1 at the farthest corner.
#include <fastnnunet/plugin/transform.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>

namespace py = pybind11;
namespace plugin = fastnnunet::plugin;

namespace {

class Vignette final : public plugin::Transform {
 public:
  Vignette(double lowest, double highest) : lowest_(lowest), highest_(highest) {
    if (!(0 <= lowest && lowest <= highest && highest <= 1))
      throw std::invalid_argument("[VignetteTransform] expected 0 <= strength <= 1, got (" + std::to_string(lowest) +
                                  ", " + std::to_string(highest) + ")");
  }

  // The strength, and the centre along X, Y and Z as a share of the size.
  std::size_t parameter_count(const plugin::Geometry&) const override { return 4; }

  void draw(plugin::Stream& stream, const plugin::Geometry& geometry, double* parameters) const override {
    parameters[0] = lowest_ + (highest_ - lowest_) * stream.uniform();
    for (int axis = 0; axis < 3; ++axis)
      parameters[1 + axis] = axis < 3 - geometry.dims ? 0.5 : 0.25 + 0.5 * stream.uniform();
  }

  bool acts(const double* parameters, std::size_t) const override { return parameters[0] > 0; }

  void apply(const plugin::Voxels& voxels, const double* parameters, plugin::Stream&) const override {
    const auto& [x_size, y_size, z_size] = voxels.geometry.shape;
    double farthest = 0;
    for (int axis = 3 - voxels.geometry.dims; axis < 3; ++axis) {
      const double share = std::max(parameters[1 + axis], 1 - parameters[1 + axis]);
      farthest += share * share;
    }
    const double scale = parameters[0] / farthest;
    float* voxel = voxels.image;  // (C, X, Y, Z)
    for (std::int64_t c = 0; c < voxels.geometry.image_channels; ++c)
      for (std::int64_t x = 0; x < x_size; ++x)
        for (std::int64_t y = 0; y < y_size; ++y) {
          const double row = square(x, x_size, parameters[1]) + square(y, y_size, parameters[2]);
          for (std::int64_t z = 0; z < z_size; ++z, ++voxel)
            *voxel *= static_cast<float>(1 - scale * (row + square(z, z_size, parameters[3])));
        }
  }

 private:
  static double square(std::int64_t at, std::int64_t size, double centre) {
    const double distance = (static_cast<double>(at) + 0.5) / static_cast<double>(size) - centre;
    return distance * distance;
  }

  double lowest_, highest_;
};

}  // namespace

PYBIND11_MODULE(_vignette, module) {
  module.def("vignette", [](double lowest, double highest) {
    return py::capsule(plugin::make_table(std::make_unique<Vignette>(lowest, highest)), FASTNNUNET_PLUGIN_CAPSULE,
                       [](PyObject* capsule) {
                         plugin::free_table(static_cast<const fastnnunet_plugin_transform*>(
                             PyCapsule_GetPointer(capsule, FASTNNUNET_PLUGIN_CAPSULE)));
                       });
  });
}
