// What the files of the bindings share: one file per room, each adding its part to the module.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/engine/batch_ring.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/platform/file_place.h"
#include "fastnnunet/transforms/record.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::bindings {

namespace py = pybind11;

void add_errors(py::module_& module);
void add_platform(py::module_& module);
void add_storage(py::module_& module);
void add_transforms(py::module_& module);
void add_pipeline(py::module_& module);
void add_loader(py::module_& module);
void add_resampling(py::module_& module);
void add_inference(py::module_& module);
void add_preprocessing(py::module_& module);
void add_evaluation(py::module_& module);

// A Python object that threads without Python's lock may copy and drop.
using SharedObject = std::shared_ptr<py::object>;
SharedObject share(py::object object);

// The exception that Python sees for one of the core's, with its cause. Python's lock is held.
py::object to_python(const std::exception_ptr& error);

// A file that Python could not read as what it should be; Python's exception is kept.
class PythonStorageError final : public StorageError {
 public:
  PythonStorageError(const std::string& file, const std::string& reason, Passing passing,
                     py::error_already_set original)
      : StorageError(file, reason, passing), original_(std::move(original)) {}
  const py::error_already_set& original() const { return original_; }

 private:
  py::error_already_set original_;
};

// What Python raised while it read a file, as the core's error; to be called in the handler. Python's lock is held.
[[noreturn]] void raise_storage_error(py::error_already_set& error);

// A path; or (path, size, piece, content, fetch) as in FileParts, where `fetch` is None or called with a list of
// (begin, end). Python's lock is held.
FilePlace to_place(const py::object& place);

Record to_record(const py::dict& values, const std::string& owner);
py::dict to_dict(const Record& record);

// (X, Y, Z), or (Y, Z) where only two axes count.
py::tuple to_tuple(const Index3& shape, int dims);

// A Python object with `apply` and `targets`, see python/fastnnunet_loader/transforms/python.py.
std::unique_ptr<transforms::Transform> make_python_transform(const std::string& name, py::object object);

// A transform of another package: a capsule as in fastnnunet/plugin/abi.h. Throws InvalidType or InvalidArgument.
std::unique_ptr<transforms::Transform> make_plugin_transform(const std::string& name, py::object object);

// Memory for batches: "ordinary"; "pinned", of torch's allocator for that; or "torch", of torch's for the CPU, which
// goes the same way as pinned memory and needs no accelerator. Throws InvalidArgument where the build knows no torch.
std::shared_ptr<MemoryProvider> make_memory(const std::string& kind);

// A pipeline, and the memory that calls from Python work in: kept from call to call, one for each call at a time.
struct BoundPipeline {
  std::shared_ptr<pipeline::Pipeline> pipeline;
  base::Mutex mutex;
  std::vector<std::unique_ptr<sample::Workspace>> idle FASTNNUNET_GUARDED_BY(mutex);
  std::size_t borrowed FASTNNUNET_GUARDED_BY(mutex) = 0;  // workspaces

  explicit BoundPipeline(std::shared_ptr<pipeline::Pipeline> made) : pipeline(std::move(made)) {}
};

// Views of (C, X, Y, Z) memory; `owner` keeps it alive. Without an owner the array has memory of its own, which is a
// copy where there is something to copy.
py::array image_array(const sample::Array<float>& image, int dims, const py::handle& owner);
py::array target_array(const sample::Target& target, int dims, const py::handle& owner);
// NumPy's type for the element type of a target; for bfloat16, which NumPy has not, uint16.
py::dtype dtype_of(TargetType type);
// An array (C, X, Y, Z) or (C, Y, Z) as a target. Throws InvalidType or InvalidArgument.
sample::Target to_target(const py::array& array);
// What transforms in Python have added to a sample, as a dictionary; empty where they have added nothing.
py::dict entries_of(const sample::Sample& sample);

}  // namespace fastnnunet::bindings
