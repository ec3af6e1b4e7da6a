#include "fastnnunet/sampling/patch_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"

namespace fastnnunet::sampling {

PatchSampler::PatchSampler(SamplingOptions options, std::int64_t cases) : options_(std::move(options)), cases_(cases) {
  if (cases_ <= 0) throw InvalidArgument("sampling", "at least one case", std::to_string(cases_));
  if (options_.batch_size <= 0)
    throw InvalidArgument("sampling", "a batch size above 0", std::to_string(options_.batch_size));
  if (options_.whole_batch() > random::Stream::kMostSlots)
    throw InvalidArgument("sampling", "a batch size of at most " + std::to_string(random::Stream::kMostSlots),
                          std::to_string(options_.whole_batch()));
  if (options_.first_slot < 0 || options_.first_slot + options_.batch_size > options_.whole_batch())
    throw InvalidArgument("sampling", "slots in a batch of " + std::to_string(options_.whole_batch()),
                          std::to_string(options_.batch_size) + " from " + std::to_string(options_.first_slot) + " on");
  for (const auto& [name, size] :
       {std::pair("patch_size", options_.patch_size), std::pair("final_patch_size", options_.final_patch_size)})
    for (const std::int64_t along : size)
      if (along <= 0)
        throw InvalidArgument("sampling", std::string("a '") + name + "' above 0 on every axis", std::to_string(along));
  const auto& probabilities = options_.sampling_probabilities;
  if (!probabilities.empty()) {
    if (std::ssize(probabilities) != cases_)
      throw InvalidArgument("sampling_probabilities", "one for each of " + std::to_string(cases_) + " cases",
                            std::to_string(probabilities.size()));
    if (std::any_of(probabilities.begin(), probabilities.end(), [](double p) { return !(p >= 0.0); }))
      throw InvalidArgument("sampling_probabilities", "no negative number", "one");
    cumulative_.resize(probabilities.size());
    std::partial_sum(probabilities.begin(), probabilities.end(), cumulative_.begin());
    if (std::abs(cumulative_.back() - 1.0) > 1e-6)
      throw InvalidArgument("sampling_probabilities", "a sum of 1", std::to_string(cumulative_.back()));
  }
}

PatchSampler::Choice PatchSampler::choose_case(random::Stream& stream, std::int64_t slot) const {
  Choice choice;
  if (cumulative_.empty()) {
    choice.case_number = static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(cases_)));
  } else {
    const double at = stream.uniform() * cumulative_.back();
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), at);
    choice.case_number = std::min<std::int64_t>(found - cumulative_.begin(), cases_ - 1);
  }
  if (options_.probabilistic_oversampling) {
    choice.force_foreground = stream.uniform() < options_.oversample_foreground;
  } else {
    // Python's round: halves go to the even number.
    const double unforced =
        std::nearbyint(static_cast<double>(options_.whole_batch()) * (1.0 - options_.oversample_foreground));
    choice.force_foreground = !(static_cast<double>(slot) < unforced);
  }
  return choice;
}

Box PatchSampler::place(random::Stream& stream, const Index3& image_shape, bool force_foreground,
                        const ClassLocations* locations) const {
  Index3 lowest{}, highest{};
  for (int axis = 0; axis < 3; ++axis) {
    std::int64_t padding = options_.patch_size[axis] - options_.final_patch_size[axis] + options_.pad_sides[axis];
    // A smaller image is padded on both sides until it holds the patch.
    padding = std::max(padding, options_.patch_size[axis] - image_shape[axis]);
    const std::int64_t half = padding >= 0 ? padding / 2 : -((-padding + 1) / 2);  // floor
    const std::int64_t odd = padding - 2 * half;
    lowest[axis] = -(half + odd);
    highest[axis] = image_shape[axis] + half + odd - options_.patch_size[axis];
  }

  const ClassLocations::Class* centre_class = nullptr;
  if (needs_locations(force_foreground)) {
    if (locations == nullptr) throw InvalidArgument("sampling", "class_locations where a class is to be shown", "none");
    const auto& classes = locations->classes();
    if (!force_foreground) {
      const auto annotated = std::find_if(classes.begin(), classes.end(), [](const auto& c) { return c.is_annotated; });
      if (annotated == classes.end())
        throw InvalidArgument("class_locations", "the key of all annotated voxels (the data set has an ignore label)",
                              "other keys only");
      if (annotated->count > 0) centre_class = &*annotated;
    } else {
      const auto eligible = [&](const ClassLocations::Class& c, bool with_annotated) {
        return c.count > 0 && (with_annotated || !c.is_annotated);
      };
      const auto count = [&](bool with_annotated) {
        return std::count_if(classes.begin(), classes.end(),
                             [&](const auto& c) { return eligible(c, with_annotated); });
      };
      // "Everything annotated" stands in only where no class of its own is there.
      const bool with_annotated = count(false) == 0;
      if (const auto number_eligible = count(with_annotated); number_eligible > 0) {
        auto chosen = stream.below(static_cast<std::uint64_t>(number_eligible));
        for (const auto& candidate : classes) {
          if (!eligible(candidate, with_annotated)) continue;
          if (chosen-- == 0) {
            centre_class = &candidate;
            break;
          }
        }
      }
    }
  }

  Box box;
  if (centre_class != nullptr) {
    const Index3 centre = locations->voxel(*centre_class, stream.below(centre_class->count));
    // As in nnU-Net, only the lower bound holds here: a voxel near the far border gives a patch that reaches outside.
    for (int axis = 0; axis < 3; ++axis)
      box.lower[axis] = std::max(lowest[axis], centre[axis] - options_.patch_size[axis] / 2);
  } else {
    for (int axis = 0; axis < 3; ++axis) box.lower[axis] = stream.integer(lowest[axis], highest[axis]);
  }
  for (int axis = 0; axis < 3; ++axis) box.upper[axis] = box.lower[axis] + options_.patch_size[axis];
  return box;
}

}  // namespace fastnnunet::sampling
