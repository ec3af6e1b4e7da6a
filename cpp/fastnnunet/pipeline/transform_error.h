// What a transform threw, with its name; the original is kept.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::pipeline {

class TransformError : public Error {
 public:
  TransformError(std::string transform, const std::string& reason, std::exception_ptr cause)
      : Error("[" + transform + "] " + reason), transform_(std::move(transform)), cause_(std::move(cause)) {}
  const std::string& transform() const { return transform_; }
  const std::exception_ptr& cause() const { return cause_; }

 private:
  std::string transform_;
  std::exception_ptr cause_;
};

// Calls `body`; what it throws is given the transform's name, unless it has one.
template <typename Body>
void naming(const transforms::Transform& transform, Body&& body) {
  try {
    body();
  } catch (const TransformError&) {
    throw;
  } catch (const StorageError&) {
    throw;  // the file is to blame, not the transform that happened to read it
  } catch (const std::bad_alloc&) {
    throw;  // so is the system
  } catch (const ClosedError&) {
    throw;
  } catch (const std::exception& error) {
    throw TransformError(std::string(transform.name()), error.what(), std::current_exception());
  }
}

}  // namespace fastnnunet::pipeline
