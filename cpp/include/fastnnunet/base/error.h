// Errors say where, what was expected and what was there: "[place] expected ..., got ...". The core throws and never
// prints.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "fastnnunet/base/api.h"

namespace fastnnunet {

class FASTNNUNET_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  Error(std::string_view place, std::string_view expected, std::string_view got)
      : std::runtime_error(message(place, expected, got)) {}

 private:
  // Appended, for GCC 12 warns wrongly (-Wrestrict) about a literal + a string.
  static std::string message(std::string_view place, std::string_view expected, std::string_view got) {
    std::string text = "[";
    text.append(place).append("] expected ").append(expected).append(", got ").append(got);
    return text;
  }
};

// A value of the caller's is out of range or of the wrong shape: ValueError in Python.
class FASTNNUNET_API InvalidArgument : public Error {
 public:
  using Error::Error;
};

// A value of the caller's is of the wrong type: TypeError in Python.
class FASTNNUNET_API InvalidType : public Error {
 public:
  using Error::Error;
};

// Whether an error about a file may be over after a while.
enum class Passing : std::uint8_t {
  no,
  yes,              // a file server or a disk does not answer, or a file that was open is gone
  if_it_was_there,  // there is no such file: it may come back where it was there before
  if_it_changes,    // the file has other content than it had: somebody may just be writing it
};

// A file that cannot be read as what it should be. `file` and `reason` also stand in what().
class FASTNNUNET_API StorageError : public Error {
 public:
  StorageError(std::string file, std::string reason, Passing passing = Passing::no)
      : Error("[" + file + "] " + reason), file_(std::move(file)), reason_(std::move(reason)), passing_(passing) {}
  const std::string& file() const { return file_; }
  const std::string& reason() const { return reason_; }
  Passing passing() const { return passing_; }

 private:
  std::string file_;
  std::string reason_;
  Passing passing_;
};

// A file that cannot be read because the process may not have more of something (open files, memory): not its fault.
class FASTNNUNET_API ResourceError : public StorageError {
 public:
  using StorageError::StorageError;
};

// The stated memory budget does not hold what must be held.
class FASTNNUNET_API BudgetError : public Error {
 public:
  using Error::Error;
};

// The system gives the process no more threads.
class FASTNNUNET_API ThreadError : public Error {
 public:
  using Error::Error;
};

// The object was closed, or belongs to the process before a fork.
class FASTNNUNET_API ClosedError : public Error {
 public:
  using Error::Error;
};

}  // namespace fastnnunet
