// Cases that cannot be read, and are skipped from the step on that found them bad. What is decided for a sample depends
// on its number alone, and not on how far ahead the threads were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "fastnnunet/engine/loader/options.h"
#include "fastnnunet/engine/loader/reports.h"
#include "fastnnunet/engine/sample_error.h"

namespace fastnnunet::engine {

// Whoever has one guards it with the loader's lock.
class BadCases {
 public:
  explicit BadCases(const LoaderOptions& options) : options_(options) {}

  using Numbered = std::map<std::size_t, BadCase>;  // by the case's number
  // Of those cases that the loader has.
  static Numbered numbered(const LoaderOptions& options, const std::vector<BadCase>& list);
  void swap(Numbered& cases) { bad_.swap(cases); }

  std::vector<BadCase> list() const;
  bool empty() const { return bad_.empty(); }
  bool is_excluded(std::size_t number, std::uint64_t step) const;
  void exclude(std::size_t number, const SampleFailure& failure, std::string stamp);

  // Throws SampleError. Asks only for what this sample found itself (`bad_here`) or earlier steps did: what others run
  // into meanwhile depends on how far ahead they are.
  void require_good_case_left(const SampleId& id, const std::vector<std::size_t>& bad_here) const;

  // Throws SampleError. A sample does not go through all cases where all are bad. It counts those that it has drawn,
  // for these do not depend on what others have found meanwhile.
  void require_few_skipped(const std::vector<std::size_t>& bad_here) const;

  // The error of the first step with more skipped cases than there may be, and of each later one; asked for when all
  // earlier steps are done, so it does not depend on how far ahead the threads are.
  std::exception_ptr too_many_skipped(std::uint64_t step) const;

 private:
  std::size_t most_skipped() const;
  std::exception_ptr too_many(const std::vector<const BadCase*>& skipped) const;

  const LoaderOptions& options_;
  Numbered bad_;
};

}  // namespace fastnnunet::engine
