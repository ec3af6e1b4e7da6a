// Voxels go through the steps of a plan.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "fastnnunet/pipeline/passes.h"
#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/pipeline/purposes.h"

namespace fastnnunet::pipeline {
namespace {

// Whether a native transform would find labels, or other entries, that it does not work on.
bool is_for_python(const transforms::Traits& traits, const sample::Sample& sample) {
  const sample::Companion* companion = sample.companion();
  if (companion != nullptr && (companion->holds_labels() || companion->holds_entries_of_transforms())) return true;
  if (sample.target_is_list()) return true;
  return sample.regions() != nullptr && !traits.takes_regions;
}

// In a pass of its own: what no step does on its way.
void apply_deferred(sample::Sample& sample, sample::ChannelArithmetic& arithmetic) {
  for (std::int64_t channel = 0; channel < arithmetic.channels(); ++channel)
    transforms::Work::apply_to_channel(sample, channel, arithmetic.take(channel));
}

}  // namespace

void Pipeline::apply(sample::Sample& sample, Plan& plan, std::size_t number) const {
  const Plan::Step& step = plan.steps_[number];
  const transforms::Traits traits = step.transform->traits();
  sample::ChannelArithmetic& present = plan.present_;
  present.clear();
  for (const Plan::Arithmetic& left : plan.arithmetic(step)) present.add(left.channel, left.value);
  if (!traits.takes_arithmetic && !traits.permutes) apply_deferred(sample, present);
  step.transform->apply(sample, *step.parameters,
                        transforms::Work(step.field, traits.permutes || traits.writes_permuted ? &step.moves : nullptr,
                                         plan.folded_ ? &present : nullptr));
  if (!traits.leaves_arithmetic) return;
  for (std::size_t i = step.last_arithmetic; i < plan.arithmetic_.size(); ++i)
    if (plan.arithmetic_[i].from == number) plan.arithmetic_[i].value = present.take(plan.arithmetic_[i].channel);
}

void Pipeline::apply_in_python(sample::Sample& sample, Plan& plan, std::size_t number) const {
  const Plan::Step& step = plan.steps_[number];
  // Python is shown the image: all that earlier steps have left is done, whoever was to do it.
  plan.present_.clear();
  for (std::size_t i = step.first_arithmetic; i < plan.arithmetic_.size(); ++i)
    if (plan.arithmetic_[i].from < number)
      plan.present_.add(plan.arithmetic_[i].channel, std::exchange(plan.arithmetic_[i].value, {}));
  apply_deferred(sample, plan.present_);
  const transforms::Transform* stand_in = stand_ins_[step.leaf];
  if (stand_in == nullptr)
    throw InvalidArgument(step.transform->name(), "labels of the form (C, X, Y, Z) int16",
                          "regions, a list of targets, or what a transform in Python made of them");
  stood_in_[step.leaf].store(true, std::memory_order_relaxed);
  const std::unique_ptr<transforms::Parameters> parameters = stand_in->new_parameters();
  if (plan.records_.empty()) {
    random::Stream stream(plan.sample_, draw_purpose(purposes_[step.leaf]));
    stand_in->draw(stream, sample.geometry(), *parameters);
  } else {
    stand_in->restore(plan.records_[number], sample.geometry(), *parameters);
  }
  stand_in->apply(sample, *parameters, step.field);
}

void Pipeline::run(sample::Sample& sample, Plan& plan, bool targets_wanted) const {
  optimise(plan);
  execute(sample, plan, targets_wanted);
}

void Pipeline::execute(sample::Sample& sample, Plan& plan, bool targets_wanted) const {
  Geometry expected = sample.geometry();
  const transforms::Transform* changed = nullptr;  // the last in Python that changed shape, channels or labels
  sample::Sample* follower = sample.follower();
  std::size_t followed = 0;  // steps that the follower has taken
  for (std::size_t i = 0; i < plan.steps_.size(); ++i) {
    const Plan::Step& step = plan.steps_[i];
    const transforms::Transform& transform = *step.transform;
    const transforms::Traits traits = transform.traits();
    const bool in_python = step.may_be_stood_in && is_for_python(traits, sample);
    if (follower != nullptr && (in_python || !traits.native)) {
      move(*follower, plan, followed, i);
      followed = i + 1;
    }
    const Stopwatch watch;
    expected = transform.after(expected);
    if (step.state != Plan::State::runs && !in_python) {
      // It counts as applied. Not every clock sees how long this took.
      if (step.state == Plan::State::absorbed)
        applied_[step.leaf].add(std::max<std::chrono::nanoseconds>(watch.read(), std::chrono::nanoseconds{1}));
      continue;
    }
    const std::chrono::nanoseconds before = sample.reading_time();
    sample.workspace().activity().enter(transform.name());
    naming(transform, [&] {
      if (in_python)
        apply_in_python(sample, plan, i);
      else
        apply(sample, plan, i);
    });
    applied_[step.leaf].add(watch.read() - (sample.reading_time() - before));
    if (!in_python && traits.native) continue;
    if (const Geometry now = sample.geometry(); now != expected) {
      draw_again(plan, i + 1, now);
      optimise(plan, i + 1);
      expected = now;
      changed = &transform;
    }
    if (sample.companion() != nullptr || sample.target_is_list()) changed = &transform;
  }
  if (follower != nullptr) {
    move(*follower, plan, followed, plan.steps_.size());
    follower->finish();
  }
  const Stopwatch watch;
  const std::chrono::nanoseconds before = sample.reading_time();
  sample.workspace().activity().enter("writing into the batch");
  plan.present_.clear();
  for (const Plan::Arithmetic& left : plan.arithmetic_at_end()) plan.present_.add(left.channel, left.value);
  apply_deferred(sample, plan.present_);
  if (changed != nullptr)
    naming(*changed, [&] { sample.finish(targets_wanted); });
  else
    sample.finish(targets_wanted);
  written_.add(watch.read() - (sample.reading_time() - before));
}

void Pipeline::run_moves(sample::Sample& sample, const Plan& plan) const {
  move(sample, plan, 0, plan.steps_.size());
  sample.finish();
}

void Pipeline::move(sample::Sample& target, const Plan& plan, std::size_t first, std::size_t last) const {
  for (std::size_t i = first; i < last; ++i) {
    const Plan::Step& step = plan.steps_[i];
    const transforms::Transform& transform = *step.transform;
    if (!transform.traits().moves_voxels || !transform.acts(*step.parameters)) continue;
    naming(transform, [&] { transform.apply(target, *step.parameters, step.field); });
  }
}

}  // namespace fastnnunet::pipeline
