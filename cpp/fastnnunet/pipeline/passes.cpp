#include "fastnnunet/pipeline/passes.h"

#include <algorithm>

#include "fastnnunet/pipeline/transform_error.h"

namespace fastnnunet::pipeline {

// The one who may write a plan.
class PlanPasses {
 public:
  PlanPasses(Plan& plan, std::size_t first) : plan_(plan), steps_(plan.steps_), first_(first) {}

  void forget() {
    plan_.folded_ = false;
    plan_.arithmetic_.resize(first_ > 0 ? steps_[first_ - 1].last_arithmetic : 0);
    for (std::size_t i = first_; i < steps_.size(); ++i) {
      Plan::Step& step = steps_[i];
      step.state = Plan::State::runs;
      step.moves = step.transform->traits().permutes ? own_moves(step) : sample::SampleMoves{};
      step.first_arithmetic = step.last_arithmetic = plan_.arithmetic_.size();
    }
    mark_stood_in();
  }

  void drop_idle() {
    for (std::size_t i = first_; i < steps_.size(); ++i)
      if (!steps_[i].transform->acts(*steps_[i].parameters)) steps_[i].state = Plan::State::idle;
  }

  void sink_moves() {
    Plan::Step* image_host = nullptr;
    Plan::Step* labels_host = nullptr;
    for (std::size_t i = first_; i < steps_.size(); ++i) {
      Plan::Step& step = steps_[i];
      // Behind a step that may be stood in for, so may be all that move labels: none of them gives or takes moves.
      if (step.state != Plan::State::runs || step.may_be_stood_in) continue;
      const transforms::Traits traits = step.transform->traits();
      if (traits.writes_permuted) {
        image_host = labels_host = &step;
      } else if (traits.permutes) {
        sink(step.moves.image, image_host, &sample::SampleMoves::image, step);
        sink(step.moves.labels, labels_host, &sample::SampleMoves::labels, step);
      } else {
        if (!traits.image.indifferent_to_moves) image_host = nullptr;
        if (!traits.labels.indifferent_to_moves) labels_host = nullptr;
      }
    }
    for (std::size_t i = first_; i < steps_.size(); ++i) {
      Plan::Step& step = steps_[i];
      if (step.state == Plan::State::runs && !step.may_be_stood_in && step.transform->traits().permutes &&
          !step.moves.changes())
        step.state = Plan::State::absorbed;
    }
  }

  void fold_arithmetic() {
    std::vector<Plan::Arithmetic>& pending = plan_.pending_;
    pending.clear();
    plan_.folded_ = true;
    plan_.arithmetic_.resize(first_ > 0 ? steps_[first_ - 1].last_arithmetic : 0);
    for (std::size_t i = first_; i < steps_.size(); ++i) {
      Plan::Step& step = steps_[i];
      step.first_arithmetic = step.last_arithmetic = plan_.arithmetic_.size();
      if (step.state != Plan::State::runs) continue;
      const transforms::Traits traits = step.transform->traits();
      const std::span<const std::int64_t> channels = step.transform->channels(*step.parameters);
      if (traits.is_arithmetic) {
        for (std::size_t number = 0; number < channels.size(); ++number)
          pending.push_back({i, channels[number], step.transform->arithmetic(*step.parameters, number)});
        step.state = Plan::State::absorbed;
        continue;
      }
      const bool reads = traits.permutes ? step.moves.image.changes() : traits.image.touches();
      if (!reads) continue;
      hand_over(step, [&](const Plan::Arithmetic& left) {
        return !traits.takes_arithmetic || std::find(channels.begin(), channels.end(), left.channel) != channels.end();
      });
      if (!traits.leaves_arithmetic) continue;
      for (std::size_t number = 0; number < channels.size(); ++number)
        if (std::find(channels.begin(), channels.begin() + static_cast<std::ptrdiff_t>(number), channels[number]) ==
            channels.begin() + static_cast<std::ptrdiff_t>(number))
          pending.push_back({i, channels[number], {}});
    }
    plan_.arithmetic_.insert(plan_.arithmetic_.end(), pending.begin(), pending.end());
  }

 private:
  // Native transforms work on labels of one form, and some on regions. For any other form Python stands in, and what it
  // leaves behind is not known either. Transforms of the image alone are never stood in for.
  void mark_stood_in() {
    bool unknown = false, regions = false;
    for (Plan::Step& step : steps_) {
      const transforms::Traits traits = step.transform->traits();
      step.may_be_stood_in =
          traits.native && traits.labels.touches() && (unknown || (regions && !traits.takes_regions));
      unknown = unknown || !traits.native || step.may_be_stood_in || traits.target_scales != nullptr;
      regions = regions || traits.makes_regions;
    }
  }

  static sample::SampleMoves own_moves(const Plan::Step& step) {
    sample::SampleMoves moves;
    naming(*step.transform,
           [&] { moves.image = moves.labels = step.transform->permutation(*step.parameters, step.dims); });
    return moves;
  }

  static void sink(sample::AxisPermutation& own, Plan::Step*& host,
                   sample::AxisPermutation sample::SampleMoves::* array, Plan::Step& step) {
    if (host == nullptr) {
      host = &step;
      return;
    }
    host->moves.*array = (host->moves.*array).then(own);
    own = {};
  }

  // What is pending and that `takes` is true of becomes the step's, in its order.
  template <typename Takes>
  void hand_over(Plan::Step& step, const Takes& takes) {
    std::vector<Plan::Arithmetic>& pending = plan_.pending_;
    for (const Plan::Arithmetic& left : pending)
      if (takes(left)) plan_.arithmetic_.push_back(left);
    pending.erase(std::remove_if(pending.begin(), pending.end(), takes), pending.end());
    step.last_arithmetic = plan_.arithmetic_.size();
  }

  Plan& plan_;
  std::vector<Plan::Step>& steps_;
  std::size_t first_;
};

void forget_passes(Plan& plan, std::size_t first) { PlanPasses(plan, first).forget(); }
void drop_idle(Plan& plan, std::size_t first) { PlanPasses(plan, first).drop_idle(); }
void sink_moves(Plan& plan, std::size_t first) { PlanPasses(plan, first).sink_moves(); }
void fold_arithmetic(Plan& plan, std::size_t first) { PlanPasses(plan, first).fold_arithmetic(); }

void optimise(Plan& plan, std::size_t first) {
  forget_passes(plan, first);
  drop_idle(plan, first);
  sink_moves(plan, first);
  fold_arithmetic(plan, first);
}

}  // namespace fastnnunet::pipeline
