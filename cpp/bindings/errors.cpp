#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/engine/sample_error.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/platform/system_errors.h"

namespace fastnnunet::bindings {
namespace {

constexpr const char* kNoMemory = "[core] expected memory of the system, got none: the process is at its limit";

py::object exception_type(const char* name) { return py::module_::import("fastnnunet_loader.errors").attr(name); }

py::object with_cause(py::object error, const std::exception_ptr& cause) {
  if (cause) error.attr("__cause__") = to_python(cause);
  return error;
}

py::object sample_error(const SampleError& error) {
  using namespace py::literals;
  const SampleFailure& failure = error.failure();
  const py::object type = exception_type(failure.bad_case ? "BadCaseError" : "SampleError");
  return type(error.what(), "case"_a = failure.case_name, "file"_a = failure.file, "transform"_a = failure.transform,
              "reason"_a = failure.reason, "seed"_a = failure.id.seed, "rank"_a = failure.id.rank,
              "role"_a = failure.id.role, "step"_a = failure.id.step, "slot"_a = failure.id.slot,
              "attempt"_a = failure.id.attempt);
}

py::object value_of(const py::error_already_set& error) {
  py::object value = error.value();
  if (error.trace()) PyException_SetTraceback(value.ptr(), error.trace().ptr());
  return value;
}

}  // namespace

py::object to_python(const std::exception_ptr& error) {
  using namespace py::literals;
  try {
    std::rethrow_exception(error);
  } catch (const SampleError& e) {
    return with_cause(sample_error(e), e.cause());
  } catch (const pipeline::TransformError& e) {
    return with_cause(exception_type("TransformError")(e.what(), "transform"_a = e.transform()), e.cause());
  } catch (const PythonStorageError& e) {
    return value_of(e.original());
  } catch (const StorageError& e) {
    return exception_type("StorageError")(e.what(), "file"_a = e.file(), "reason"_a = e.reason(),
                                          "passing"_a = e.passing() == Passing::yes);
  } catch (const BudgetError& e) {
    return exception_type("MemoryBudgetError")(e.what());
  } catch (const ThreadError& e) {
    return exception_type("ResourceError")(e.what());
  } catch (const ClosedError& e) {
    return exception_type("LoaderClosedError")(e.what());
  } catch (const InvalidArgument& e) {
    return py::reinterpret_borrow<py::object>(PyExc_ValueError)(e.what());
  } catch (const InvalidType& e) {
    return py::reinterpret_borrow<py::object>(PyExc_TypeError)(e.what());
  } catch (const py::error_already_set& e) {
    return value_of(e);
  } catch (const std::bad_alloc&) {
    return py::reinterpret_borrow<py::object>(PyExc_MemoryError)(kNoMemory);
  } catch (const std::exception& e) {
    return py::reinterpret_borrow<py::object>(PyExc_RuntimeError)(e.what());
  }
}

void raise_storage_error(py::error_already_set& error) {
  if (!error.matches(exception_type("StorageError"))) throw;
  const auto file = py::cast<std::string>(error.value().attr("file"));
  const auto reason = py::cast<std::string>(error.value().attr("reason"));
  const py::object code = error.value().attr("errno");
  if (!code.is_none() && platform::is_limit_errno(py::cast<int>(code))) throw ResourceError(file, reason);
  Passing may_pass = code.is_none() ? Passing::no : platform::passing_errno(py::cast<int>(code));
  if (py::cast<bool>(error.value().attr("passing"))) may_pass = Passing::yes;
  throw PythonStorageError(file, reason, may_pass, std::move(error));
}

void add_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      std::rethrow_exception(std::move(error));
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError, kNoMemory);
    } catch (const Error&) {
      const py::object value = to_python(std::current_exception());
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())), value.ptr());
    }
  });
}

}  // namespace fastnnunet::bindings
