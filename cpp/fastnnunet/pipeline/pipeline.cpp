#include "fastnnunet/pipeline/pipeline.h"

#include <algorithm>
#include <new>
#include <utility>

#include "fastnnunet/transforms/utils/deep_supervision_downsampling.h"

namespace fastnnunet {
namespace {

// Purposes of a sample's streams: 0 is the sampling; node n draws with 2 n + 1, and its fields are 2 n + 2.
std::uint32_t draw_purpose(std::uint32_t node) { return 2 * node + 1; }
std::uint32_t field_purpose(std::uint32_t node) { return 2 * node + 2; }
constexpr std::uint32_t most_nodes() { return (Stream::kMostPurposes - 1) / 2; }

// Whether a native transform would find labels, or other entries, that it does not work on.
bool is_for_python(const Transform& transform, const Sample& sample) {
  if (!transform.native() || transform.only_image()) return false;
  const Companion* companion = sample.companion();
  if (companion != nullptr && (companion->holds_labels() || companion->holds_entries_of_transforms())) return true;
  if (sample.target_is_list()) return true;
  return sample.regions() != nullptr && !transform.takes_regions();
}

// Calls `body`; what it throws is given the transform's name, unless it has one.
template <typename Body>
void naming(const Transform& transform, Body&& body) {
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

}  // namespace

Node Node::leaf(std::unique_ptr<Transform> transform, std::unique_ptr<Transform> stand_in) {
  Node node;
  node.kind = Kind::leaf;
  node.transform = std::move(transform);
  node.stand_in = std::move(stand_in);
  return node;
}

Node Node::compose(std::vector<Node> children) {
  Node node;
  node.children = std::move(children);
  return node;
}

Node Node::random(Node child, double probability) {
  Node node;
  node.kind = Kind::random;
  node.probability = probability;
  node.children.push_back(std::move(child));
  return node;
}

Node Node::one_of(std::vector<Node> children) {
  if (children.empty()) throw InvalidArgument("OneOfTransform", "at least one transform", "none");
  Node node;
  node.kind = Kind::one_of;
  node.children = std::move(children);
  return node;
}

Pipeline::Pipeline(Node root) : root_(std::move(root)) {
  std::uint32_t node = 0;
  number_nodes(root_, node);
  if (node > most_nodes())
    throw InvalidArgument("pipeline", "at most " + std::to_string(most_nodes()) + " transforms", std::to_string(node));
  applied_ = std::vector<Durations>(leaves_.size());
  stood_in_ = std::vector<std::atomic<bool>>(leaves_.size());
}

void Pipeline::number_nodes(Node& node, std::uint32_t& purpose) {
  node.purpose_ = purpose++;
  if (node.kind == Node::Kind::leaf) {
    node.leaf_ = leaves_.size();
    leaves_.push_back(node.transform.get());
    stand_ins_.push_back(node.stand_in.get());
    purposes_.push_back(node.purpose_);
  }
  for (Node& child : node.children) number_nodes(child, purpose);
}

bool Pipeline::all_native() const {
  return std::all_of(leaves_.begin(), leaves_.end(), [](const Transform* transform) { return transform->native(); });
}

void Pipeline::prepare(Plan& plan) const {
  plan.steps_.clear();
  plan.replayed_.clear();
  plan.records_.clear();
  if (plan.per_leaf_.size() == leaves_.size()) return;
  plan.per_leaf_.clear();
  for (const Transform* transform : leaves_) plan.per_leaf_.push_back(transform->new_parameters());
  plan.steps_.reserve(leaves_.size());
}

void Pipeline::draw(const SampleId& sample, const Geometry& geometry, Plan& plan) const {
  prepare(plan);
  plan.sample_ = sample;
  Geometry changing = geometry;
  draw_node(root_, sample, changing, plan);
}

void Pipeline::draw_node(const Node& node, const SampleId& sample, Geometry& geometry, Plan& plan) const {
  switch (node.kind) {
    case Node::Kind::compose:
      for (const Node& child : node.children) draw_node(child, sample, geometry, plan);
      return;
    case Node::Kind::random: {
      Stream stream(sample, draw_purpose(node.purpose_));
      if (stream.bernoulli(node.probability)) draw_node(node.children.front(), sample, geometry, plan);
      return;
    }
    case Node::Kind::one_of: {
      Stream stream(sample, draw_purpose(node.purpose_));
      draw_node(node.children[stream.below(node.children.size())], sample, geometry, plan);
      return;
    }
    case Node::Kind::leaf: {
      Stream stream(sample, draw_purpose(node.purpose_));
      Parameters& parameters = *plan.per_leaf_[node.leaf_];
      naming(*node.transform, [&] {
        node.transform->draw(stream, geometry, parameters);
        geometry = node.transform->after(geometry);
      });
      plan.steps_.push_back({node.leaf_, &parameters, Stream(sample, field_purpose(node.purpose_))});
      return;
    }
  }
}

void Pipeline::restore(const std::vector<TraceEntry>& trace, const SampleId& sample, const Geometry& geometry,
                       Plan& plan) const {
  prepare(plan);
  plan.sample_ = sample;
  Geometry changing = geometry;
  for (const TraceEntry& entry : trace) {
    if (entry.leaf >= leaves_.size())
      throw InvalidArgument("replay", "a transform below " + std::to_string(leaves_.size()),
                            std::to_string(entry.leaf));
    const Transform& transform = *leaves_[entry.leaf];
    plan.replayed_.push_back(transform.new_parameters());
    plan.records_.push_back(entry.parameters);
    naming(transform, [&] {
      transform.restore(entry.parameters, changing, *plan.replayed_.back());
      changing = transform.after(changing);
    });
    plan.steps_.push_back(
        {entry.leaf, plan.replayed_.back().get(), Stream(sample, field_purpose(purposes_[entry.leaf]))});
  }
}

void Pipeline::expect_flips(Sample& sample, const Plan& plan) const {
  bool image = true, labels = true, first = true;
  for (const Plan::Step& step : plan.steps_) {
    const Transform& transform = *leaves_[step.leaf];
    if (!transform.acts(*step.parameters)) continue;
    if (std::exchange(first, false)) {
      if (!transform.writes_flipped()) return;
      continue;
    }
    Flips flips{};
    naming(transform, [&] { flips = transform.flips(*step.parameters, sample.dims()); });
    if (any_of(flips)) return sample.expect_flips({image ? flips : Flips{}, labels ? flips : Flips{}});
    const Transform::Indifferent indifferent = transform.indifferent_to_flips();
    image = image && indifferent.image;
    labels = labels && indifferent.labels;
    if (!image && !labels) return;
  }
}

void Pipeline::draw_again(Plan& plan, std::size_t first, Geometry geometry) const {
  for (std::size_t i = first; i < plan.steps_.size(); ++i) {
    const Plan::Step& step = plan.steps_[i];
    const Transform& transform = *leaves_[step.leaf];
    const bool replayed = !plan.records_.empty();
    Parameters& parameters = replayed ? *plan.replayed_[i] : *plan.per_leaf_[step.leaf];
    naming(transform, [&] {
      if (replayed) {
        transform.restore(plan.records_[i], geometry, parameters);
      } else {
        Stream stream(plan.sample_, draw_purpose(purposes_[step.leaf]));
        transform.draw(stream, geometry, parameters);
      }
      geometry = transform.after(geometry);
    });
  }
}

void Pipeline::apply_in_python(Sample& sample, const Plan& plan, std::size_t number) const {
  const Plan::Step& step = plan.steps_[number];
  const Transform* stand_in = stand_ins_[step.leaf];
  if (stand_in == nullptr)
    throw InvalidArgument(leaves_[step.leaf]->name(), "labels of the form (C, X, Y, Z) int16",
                          "regions, a list of targets, or what a transform in Python made of them");
  stood_in_[step.leaf].store(true, std::memory_order_relaxed);
  const std::unique_ptr<Parameters> parameters = stand_in->new_parameters();
  if (plan.records_.empty()) {
    Stream stream(plan.sample_, draw_purpose(purposes_[step.leaf]));
    stand_in->draw(stream, sample.geometry(), *parameters);
  } else {
    stand_in->restore(plan.records_[number], sample.geometry(), *parameters);
  }
  stand_in->apply(sample, *parameters, step.field);
}

void Pipeline::run(Sample& sample, Plan& plan, bool targets_wanted) const {
  expect_flips(sample, plan);
  Geometry expected = sample.geometry();
  const Transform* changed = nullptr;  // the last in Python that changed shape, channels or labels
  for (std::size_t i = 0; i < plan.steps_.size(); ++i) {
    const Plan::Step& step = plan.steps_[i];
    const Transform& transform = *leaves_[step.leaf];
    const bool in_python = is_for_python(transform, sample);
    expected = transform.after(expected);
    if (!in_python && !transform.acts(*step.parameters)) continue;
    const Stopwatch watch;
    const std::chrono::nanoseconds before = sample.reading_time();
    sample.workspace().activity().enter(transform.name());
    naming(transform, [&] {
      if (in_python)
        apply_in_python(sample, plan, i);
      else
        transform.apply(sample, *step.parameters, step.field);
    });
    applied_[step.leaf].add(watch.read() - (sample.reading_time() - before));
    if (!in_python && transform.native()) continue;
    if (const Geometry now = sample.geometry(); now != expected) {
      draw_again(plan, i + 1, now);
      expected = now;
      changed = &transform;
    }
    if (sample.companion() != nullptr || sample.target_is_list()) changed = &transform;
  }
  const Stopwatch watch;
  const std::chrono::nanoseconds before = sample.reading_time();
  sample.workspace().activity().enter("writing into the batch");
  if (changed != nullptr)
    naming(*changed, [&] { sample.finish(targets_wanted); });
  else
    sample.finish(targets_wanted);
  written_.add(watch.read() - (sample.reading_time() - before));
}

void Pipeline::run_moves(Sample& sample, const Plan& plan) const {
  for (const Plan::Step& step : plan.steps()) {
    const Transform& transform = *leaves_[step.leaf];
    if (!transform.moves_voxels() || !transform.acts(*step.parameters)) continue;
    naming(transform, [&] { transform.apply(sample, *step.parameters, step.field); });
  }
  sample.finish();
}

std::optional<Layout> Pipeline::layout(const Geometry& geometry, bool has_segmentation) const {
  if (!all_native()) return std::nullopt;
  Geometry at = geometry;
  Layout layout;
  TargetType type = TargetType::int16;
  for (const Transform* transform : leaves_) {
    naming(*transform, [&] { at = transform->after(at); });
    if (transform->makes().regions) type = TargetType::boolean;
    const Record::Rows* scales = transform->target_scales();
    if (scales == nullptr || !has_segmentation) continue;
    layout.target_is_list = true;
    layout.targets.clear();
    for (const auto& scale : *scales)
      layout.targets.push_back({type, at.segmentation_channels, downsampled_shape(at.shape, at.dims, scale)});
  }
  layout.image_channels = at.image_channels;
  layout.image_shape = at.shape;
  layout.dims = at.dims;
  if (has_segmentation && !layout.target_is_list) layout.targets.push_back({type, at.segmentation_channels, at.shape});
  return layout;
}

Layout Pipeline::layout_of(const Sample& sample, Array<float> image) {
  Layout layout{image.channels, image.shape, sample.dims(), {}, sample.target_is_list()};
  for (const Target& target : sample.targets()) layout.targets.push_back({target.type, target.channels, target.shape});
  return layout;
}

}  // namespace fastnnunet
