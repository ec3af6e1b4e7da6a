#include "fastnnunet/pipeline/pipeline.h"

#include <algorithm>
#include <utility>

#include "fastnnunet/pipeline/purposes.h"
#include "fastnnunet/pipeline/workspace_bytes.h"
#include "fastnnunet/transforms/utils/deep_supervision_downsampling.h"

namespace fastnnunet::pipeline {
namespace {

constexpr std::uint32_t most_nodes() { return (random::Stream::kMostPurposes - 1) / 2; }

}  // namespace

Node Node::leaf(std::unique_ptr<transforms::Transform> transform, std::unique_ptr<transforms::Transform> stand_in) {
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
  return std::all_of(leaves_.begin(), leaves_.end(),
                     [](const transforms::Transform* transform) { return transform->traits().native; });
}

void Pipeline::prepare(Plan& plan) const {
  plan.steps_.clear();
  plan.replayed_.clear();
  plan.records_.clear();
  if (plan.per_leaf_.size() == leaves_.size()) return;
  plan.per_leaf_.clear();
  for (const transforms::Transform* transform : leaves_) plan.per_leaf_.push_back(transform->new_parameters());
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
      random::Stream stream(sample, draw_purpose(node.purpose_));
      if (stream.bernoulli(node.probability)) draw_node(node.children.front(), sample, geometry, plan);
      return;
    }
    case Node::Kind::one_of: {
      random::Stream stream(sample, draw_purpose(node.purpose_));
      draw_node(node.children[stream.below(node.children.size())], sample, geometry, plan);
      return;
    }
    case Node::Kind::leaf: {
      random::Stream stream(sample, draw_purpose(node.purpose_));
      transforms::Parameters& parameters = *plan.per_leaf_[node.leaf_];
      const int dims = geometry.dims;
      naming(*node.transform, [&] {
        node.transform->draw(stream, geometry, parameters);
        geometry = node.transform->after(geometry);
      });
      plan.steps_.push_back(
          {node.leaf_, node.transform.get(), &parameters, random::Stream(sample, field_purpose(node.purpose_)), dims});
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
    const transforms::Transform& transform = *leaves_[entry.leaf];
    plan.replayed_.push_back(transform.new_parameters());
    plan.records_.push_back(entry.parameters);
    const int dims = changing.dims;
    naming(transform, [&] {
      transform.restore(entry.parameters, changing, *plan.replayed_.back());
      changing = transform.after(changing);
    });
    plan.steps_.push_back({entry.leaf, &transform, plan.replayed_.back().get(),
                           random::Stream(sample, field_purpose(purposes_[entry.leaf])), dims});
  }
}

void Pipeline::draw_again(Plan& plan, std::size_t first, Geometry geometry) const {
  for (std::size_t i = first; i < plan.steps_.size(); ++i) {
    Plan::Step& step = plan.steps_[i];
    step.dims = geometry.dims;
    const transforms::Transform& transform = *step.transform;
    const bool replayed = !plan.records_.empty();
    transforms::Parameters& parameters = replayed ? *plan.replayed_[i] : *plan.per_leaf_[step.leaf];
    naming(transform, [&] {
      if (replayed) {
        transform.restore(plan.records_[i], geometry, parameters);
      } else {
        random::Stream stream(plan.sample_, draw_purpose(purposes_[step.leaf]));
        transform.draw(stream, geometry, parameters);
      }
      geometry = transform.after(geometry);
    });
  }
}

std::optional<Layout> Pipeline::layout(const Geometry& geometry, bool has_segmentation) const {
  if (!all_native()) return std::nullopt;
  Geometry at = geometry;
  Layout layout;
  TargetType type = TargetType::int16;
  for (const transforms::Transform* transform : leaves_) {
    naming(*transform, [&] { at = transform->after(at); });
    const transforms::Traits traits = transform->traits();
    if (traits.makes_regions) type = TargetType::boolean;
    const Record::Rows* scales = traits.target_scales;
    if (scales == nullptr || !has_segmentation) continue;
    layout.target_is_list = true;
    layout.targets.clear();
    for (const auto& scale : *scales)
      layout.targets.push_back(
          {type, at.segmentation_channels, transforms::downsampled_shape(at.shape, at.dims, scale)});
  }
  layout.image_channels = at.image_channels;
  layout.image_shape = at.shape;
  layout.dims = at.dims;
  if (has_segmentation && !layout.target_is_list) layout.targets.push_back({type, at.segmentation_channels, at.shape});
  return layout;
}

std::size_t Pipeline::workspace_bytes(const Geometry& geometry, const Layout& layout) const {
  Plan every;
  for (std::size_t leaf = 0; leaf < leaves_.size(); ++leaf)
    every.steps_.push_back({leaf, leaves_[leaf], nullptr, random::Stream({}, 0), geometry.dims});
  return pipeline::workspace_bytes(every.steps_, geometry, layout);
}

bool Pipeline::takes_followers_to_python() const {
  bool listed = false, regions = false;
  for (const transforms::Transform* transform : leaves_) {
    const transforms::Traits traits = transform->traits();
    if (!traits.native || (traits.moves_voxels && (listed || (regions && !traits.takes_regions)))) return true;
    listed = listed || traits.target_scales != nullptr;
    regions = regions || traits.makes_regions;
  }
  return false;
}

Geometry Pipeline::after_moves(const Geometry& geometry) const {
  Geometry at = geometry;
  for (const transforms::Transform* transform : leaves_)
    if (transform->traits().moves_voxels) naming(*transform, [&] { at = transform->after(at); });
  return at;
}

std::size_t Pipeline::workspace_bytes_of_moves(const Geometry& geometry, const Layout& layout) const {
  Plan moves;
  for (std::size_t leaf = 0; leaf < leaves_.size(); ++leaf)
    if (const transforms::Traits traits = leaves_[leaf]->traits(); traits.moves_voxels || !traits.native)
      moves.steps_.push_back({leaf, leaves_[leaf], nullptr, random::Stream({}, 0), geometry.dims});
  return pipeline::workspace_bytes(moves.steps_, geometry, layout);
}

Layout Pipeline::layout_of(const sample::Sample& sample, sample::Array<float> image) {
  Layout layout{image.channels, image.shape, sample.dims(), {}, sample.target_is_list()};
  for (const sample::Target& target : sample.targets())
    layout.targets.push_back({target.type, target.channels, target.shape});
  return layout;
}

}  // namespace fastnnunet::pipeline
