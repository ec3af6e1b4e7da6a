// Transforms of other packages, which come in capsules.
#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/plugin_transform.h"

namespace fastnnunet::bindings {
namespace {

// Of version 0.1, which passed C++ objects: what is in them depends on the compiler.
constexpr std::string_view kCapsulesOfBefore = "fastnnunet_loader.plugin.Transform.";

}  // namespace

std::unique_ptr<transforms::Transform> make_plugin_transform(const std::string& name, py::object object) {
  const std::string expected = std::string("a capsule named '") + FASTNNUNET_PLUGIN_CAPSULE + "'";
  if (!PyCapsule_CheckExact(object.ptr())) throw InvalidType(name, expected, py::cast<std::string>(py::repr(object)));
  const char* found = PyCapsule_GetName(object.ptr());
  if (found != nullptr && std::string_view(found).starts_with(kCapsulesOfBefore))
    throw InvalidType(name, expected,
                      std::string("'") + found + "' of fastnnunet-loader 0.1: build the package of " + name +
                          " again, with fastnnunet/plugin/transform.h of this version");
  if (found == nullptr || std::string_view(found) != FASTNNUNET_PLUGIN_CAPSULE)
    throw InvalidType(name, expected, py::cast<std::string>(py::repr(object)));
  const auto* table = static_cast<const fastnnunet_plugin_transform*>(PyCapsule_GetPointer(object.ptr(), found));
  // The capsule owns the table.
  return transforms::make_plugin_transform(name, {share(std::move(object)), table});
}

}  // namespace fastnnunet::bindings
