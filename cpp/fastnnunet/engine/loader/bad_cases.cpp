#include "fastnnunet/engine/loader/bad_cases.h"

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>

namespace fastnnunet::engine {

BadCases::Numbered BadCases::numbered(const LoaderOptions& options, const std::vector<BadCase>& list) {
  Numbered bad;
  for (const BadCase& one : list) {
    const auto at = std::find_if(options.cases.begin(), options.cases.end(),
                                 [&](const CaseFiles& c) { return c.name == one.name; });
    if (at != options.cases.end()) bad[static_cast<std::size_t>(at - options.cases.begin())] = one;
  }
  return bad;
}

std::vector<BadCase> BadCases::list() const {
  std::vector<BadCase> list;
  for (const auto& [number, bad] : bad_) list.push_back(bad);
  return list;
}

bool BadCases::is_excluded(std::size_t number, std::uint64_t step) const {
  const auto found = bad_.find(number);
  return found != bad_.end() && found->second.step < step;
}

void BadCases::exclude(std::size_t number, const SampleFailure& failure, std::string stamp) {
  const SampleId& id = failure.id;
  const auto found = bad_.find(number);
  if (found == bad_.end() || id.step < found->second.step ||
      (id.step == found->second.step && id.slot < found->second.slot))
    bad_[number] = {failure.case_name, failure.file, failure.reason, id.step, id.slot, id.attempt, std::move(stamp)};
}

void BadCases::require_good_case_left(const SampleId& id, const std::vector<std::size_t>& bad_here) const {
  const auto& probabilities = options_.sampling.sampling_probabilities;
  for (std::size_t number = 0; number < options_.cases.size(); ++number)
    if (!is_excluded(number, id.step) && std::find(bad_here.begin(), bad_here.end(), number) == bad_here.end() &&
        (probabilities.empty() || probabilities[number] > 0))
      return;
  const BadCase& first = bad_.begin()->second;
  throw SampleError({id, first.name, first.file, "",
                     first.reason + "; every other case is bad as well, there is nothing left to train on", false},
                    nullptr);
}

std::size_t BadCases::most_skipped() const {
  // A product such as 0.29 x 100 may be just below the number that is meant.
  const double share = options_.max_skipped * static_cast<double>(options_.cases.size());
  return std::max<std::size_t>(1, static_cast<std::size_t>(share + 1e-6));
}

std::exception_ptr BadCases::too_many(const std::vector<const BadCase*>& skipped) const {
  char share[32];
  std::snprintf(share, sizeof(share), "%g", options_.max_skipped);
  std::string reason = "expected at most " + std::to_string(most_skipped()) + " of " +
                       std::to_string(options_.cases.size()) + " cases to be skipped (max_skipped=" + share +
                       ", at least one), got " + std::to_string(skipped.size()) + ":";
  for (const BadCase* bad : skipped) reason += "\n  " + bad->name + ": [" + bad->file + "] " + bad->reason;
  const auto place = [](const BadCase* bad) { return std::tuple(bad->step, bad->slot, bad->attempt); };
  const BadCase& last = **std::max_element(skipped.begin(), skipped.end(),
                                           [&](const auto* a, const auto* b) { return place(a) < place(b); });
  const SampleId id{options_.seed, options_.rank, options_.role, last.step, last.slot, last.attempt};
  return std::make_exception_ptr(SampleError({id, last.name, last.file, "", std::move(reason), false}, nullptr));
}

std::exception_ptr BadCases::too_many_skipped(std::uint64_t step) const {
  if (!options_.skip_bad_cases || bad_.size() <= most_skipped()) return nullptr;
  std::vector<const BadCase*> skipped;
  for (const auto& [number, bad] : bad_)
    if (bad.step <= step) skipped.push_back(&bad);
  // Where all are bad, require_good_case_left() says so.
  return skipped.size() > most_skipped() && skipped.size() < options_.cases.size() ? too_many(skipped) : nullptr;
}

void BadCases::require_few_skipped(const std::vector<std::size_t>& bad_here) const {
  // Where all are bad, require_good_case_left() says so.
  if (bad_here.size() <= most_skipped() || bad_here.size() >= options_.cases.size()) return;
  std::vector<const BadCase*> skipped;
  for (const auto& [number, bad] : bad_)
    if (std::find(bad_here.begin(), bad_here.end(), number) != bad_here.end()) skipped.push_back(&bad);
  std::rethrow_exception(too_many(skipped));
}

}  // namespace fastnnunet::engine
