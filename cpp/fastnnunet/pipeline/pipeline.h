// A compiled tree of transforms. draw() walks the tree once and writes down what will happen to one sample, as a plan;
// run() sends the plan through the passes and does it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fastnnunet/base/durations.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/pipeline/layout.h"
#include "fastnnunet/pipeline/plan.h"
#include "fastnnunet/pipeline/transform_error.h"
#include "fastnnunet/transforms/transform.h"

namespace fastnnunet::pipeline {

// Nodes as the tree has them: Compose, Random and OneOf hold nodes, a leaf holds a transform.
struct Node {
  enum class Kind { leaf, compose, random, one_of };
  Kind kind = Kind::compose;
  std::unique_ptr<transforms::Transform> transform;  // of a leaf
  std::unique_ptr<transforms::Transform> stand_in;   // of a native leaf: the same in Python; may be null
  double probability = 1.0;                          // of a random node
  std::vector<Node> children;

  static Node leaf(std::unique_ptr<transforms::Transform> transform,
                   std::unique_ptr<transforms::Transform> stand_in = nullptr);
  static Node compose(std::vector<Node> children);
  static Node random(Node child, double probability);
  static Node one_of(std::vector<Node> children);

 private:
  friend class Pipeline;
  std::uint32_t purpose_ = 0;  // of the node's random stream
  std::size_t leaf_ = 0;       // number of the leaf in the order of the tree
};

// One recorded application, for replay.
struct TraceEntry {
  std::size_t leaf;
  Record parameters;
};

class Pipeline {
 public:
  explicit Pipeline(Node root);

  std::size_t leaves() const { return leaves_.size(); }
  const transforms::Transform& leaf(std::size_t number) const { return *leaves_[number]; }
  bool all_native() const;

  // Draws every parameter of one sample. Throws TransformError.
  void draw(const SampleId& sample, const Geometry& geometry, Plan& plan) const;
  // Fills the plan from recorded parameters instead.
  void restore(const std::vector<TraceEntry>& trace, const SampleId& sample, const Geometry& geometry,
               Plan& plan) const;
  // optimise(), then execute().
  void run(sample::Sample& sample, Plan& plan, bool targets_wanted = true) const;
  // Does what the plan says. Where a transform in Python changes shape or channels, what follows is drawn anew, as
  // batchgeneratorsv2 draws from the sample as it is then: the plan has what was applied. Native transforms whose
  // labels, or whose other entries, only Python knows run in Python. The sample's follower, if it has one, is moved as
  // far as each transform in Python that may see it, and finished. `targets_wanted`: see Sample::finish. Throws
  // TransformError.
  void execute(sample::Sample& sample, Plan& plan, bool targets_wanted = true) const;
  // Whether a regression target may have to be in Python for a while: then it has to be the sample's follower.
  bool takes_followers_to_python() const;
  // Only what moves voxels: for a regression target that no transform in Python has to see, begun as the image of a
  // sample of its own.
  void run_moves(sample::Sample& sample, const Plan& plan) const;
  // What native moves make of a target of this geometry, whose channels count as an image's; and what one thread holds
  // for a target that comes out in this layout.
  Geometry after_moves(const Geometry& geometry) const;
  std::size_t workspace_bytes_of_moves(const Geometry& geometry, const Layout& layout) const;

  // What comes out of a sample of this geometry; none where a Python transform is asked for that, which only running it
  // can tell.
  std::optional<Layout> layout(const Geometry& geometry, bool has_segmentation) const;
  // The layout of a finished sample.
  static Layout layout_of(const sample::Sample& sample, sample::Array<float> image);

  // An upper bound of what one thread holds for samples of this geometry that come out in this layout, which also tells
  // what transforms in Python make of them: that of the plan in which every leaf is a step
  // (pipeline/workspace_bytes.h).
  std::size_t workspace_bytes(const Geometry& geometry, const Layout& layout) const;

  // How often each leaf was applied and for how long, over all threads; reading voxels from files is not in it.
  Durations::Summary statistics(std::size_t leaf) const { return applied_[leaf].summary(); }
  // Whether a native leaf has had to run in Python, for what transforms before it made of a sample.
  bool stood_in(std::size_t leaf) const { return stood_in_[leaf].load(std::memory_order_relaxed); }
  // Of what comes after the last one: what is not yet where the batch wants it is written there.
  Durations::Summary write_statistics() const { return written_.summary(); }

 private:
  void number_nodes(Node& node, std::uint32_t& purpose);
  void draw_node(const Node& node, const SampleId& sample, Geometry& geometry, Plan& plan) const;
  void prepare(Plan& plan) const;
  // Draws, or restores, the steps from `first` on for a sample of this geometry.
  void draw_again(Plan& plan, std::size_t first, Geometry geometry) const;
  void apply(sample::Sample& sample, Plan& plan, std::size_t step) const;
  void apply_in_python(sample::Sample& sample, Plan& plan, std::size_t step) const;
  // Does the moves among the steps [first, last) to a regression target.
  void move(sample::Sample& target, const Plan& plan, std::size_t first, std::size_t last) const;

  Node root_;
  std::vector<const transforms::Transform*> leaves_;
  std::vector<const transforms::Transform*> stand_ins_;  // of the leaves; null for most
  std::vector<std::uint32_t> purposes_;                  // of the leaves
  mutable std::vector<Durations> applied_;               // of the leaves
  mutable std::vector<std::atomic<bool>> stood_in_;
  mutable Durations written_;
};

}  // namespace fastnnunet::pipeline
