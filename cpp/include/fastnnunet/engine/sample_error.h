// What went wrong with one sample, with all that is needed to make exactly that sample again.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "fastnnunet/base/api.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/random/sample_id.h"

namespace fastnnunet {

struct SampleFailure {
  SampleId id;
  std::string case_name;
  std::string file;       // empty where no file is to blame
  std::string transform;  // empty where no transform is
  std::string reason;
  bool bad_case = false;  // the data is to blame: on_bad_case="skip" goes on without the case
  bool may_pass = false;  // what was waited for in vain: the data may be good
};

class FASTNNUNET_API SampleError : public Error {
 public:
  SampleError(SampleFailure failure, std::exception_ptr cause)
      : Error(describe(failure)), failure_(std::move(failure)), cause_(std::move(cause)) {}
  const SampleFailure& failure() const { return failure_; }
  const std::exception_ptr& cause() const { return cause_; }

 private:
  static std::string describe(const SampleFailure& f) {
    std::string text = "[case " + f.case_name;
    if (!f.file.empty()) text += ", file " + f.file;
    if (!f.transform.empty()) text += ", transform " + f.transform;
    return text + "] " + f.reason + " (seed " + std::to_string(f.id.seed) +
           (f.id.rank > 0 ? ", rank " + std::to_string(f.id.rank) : "") + ", role " + std::to_string(f.id.role) +
           ", step " + std::to_string(f.id.step) + ", slot " + std::to_string(f.id.slot) +
           (f.id.attempt > 0 ? ", attempt " + std::to_string(f.id.attempt) + ")" : ")");
  }

  SampleFailure failure_;
  std::exception_ptr cause_;
};

}  // namespace fastnnunet
