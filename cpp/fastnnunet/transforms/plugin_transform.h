// Transforms that are built outside of this project, behind the C functions of plugin/abi.h. See Note [Plug-ins are
// tables of C functions].
#pragma once

#include <memory>
#include <string>

#include "fastnnunet/plugin/abi.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::transforms {

// The table is kept for as long as the transform exists. Throws InvalidArgument where it has another version, or lacks
// a function.
std::unique_ptr<Transform> make_plugin_transform(std::string name,
                                                 std::shared_ptr<const fastnnunet_plugin_transform> table);

}  // namespace fastnnunet::transforms
