#include "bindings.h"
#include "fastnnunet/base/simd/targets.h"

// Free-threaded Python keeps its lock off: what the bindings share is guarded by the core or by locks of its own.
PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  using namespace fastnnunet::bindings;
  fastnnunet::simd::check_setting();
  module.doc() = "The core of fastnnunet_loader in C++.";
  module.attr("__version__") = FASTNNUNET_VERSION;
  add_errors(module);
  add_platform(module);
  add_storage(module);
  add_transforms(module);
  add_pipeline(module);
  add_loader(module);
  add_resampling(module);
  add_inference(module);
  add_preprocessing(module);
  add_evaluation(module);
}
