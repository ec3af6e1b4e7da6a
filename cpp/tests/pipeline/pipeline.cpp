#include "fastnnunet/pipeline/pipeline.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "pipeline/leaves.h"
#include "pipeline/slot.h"
#include "pipeline/trees.h"

namespace fastnnunet::pipeline {
namespace {

using namespace testing;

std::vector<std::size_t> leaves_of(const Plan& plan) {
  std::vector<std::size_t> leaves;
  for (const Plan::Step& step : plan.steps()) leaves.push_back(step.leaf);
  return leaves;
}

TEST_CASE("pipeline: compose runs all, random some, one_of one of each", "[pipeline]") {
  const Pipeline pipeline(Node::compose(
      nodes(brightness(), Node::random(noise(), 0.3), Node::one_of(nodes(brightness(), noise(), brightness())))));
  REQUIRE(pipeline.leaves() == 5);
  CHECK(pipeline.all_native());
  Plan plan;
  std::map<std::size_t, int> counts;
  for (std::uint64_t step = 0; step < 2000; ++step) {
    pipeline.draw({.seed = 1, .step = step}, {1, 1, {4, 4, 4}}, plan);
    const auto leaves = leaves_of(plan);
    REQUIRE(std::is_sorted(leaves.begin(), leaves.end()));
    REQUIRE(std::count_if(leaves.begin(), leaves.end(), [](std::size_t leaf) { return leaf >= 2; }) == 1);
    for (const std::size_t leaf : leaves) ++counts[leaf];
  }
  CHECK(counts[0] == 2000);
  CHECK(counts[1] == Catch::Approx(600).margin(85));
  for (const std::size_t leaf : {2, 3, 4}) CHECK(counts[leaf] == Catch::Approx(667).margin(85));
}

TEST_CASE("pipeline: a transform's numbers are its own", "[pipeline]") {
  // What comes before does not change what comes after: the same leaf of the same sample draws the same.
  const Pipeline often(Node::compose(nodes(Node::random(noise(), 1.0), brightness())));
  const Pipeline never(Node::compose(nodes(Node::random(noise(), 0.0), brightness())));
  Plan first, second;
  const SampleId id{.seed = 5, .step = 9, .slot = 1};
  often.draw(id, {1, 1, {4, 4, 4}}, first);
  never.draw(id, {1, 1, {4, 4, 4}}, second);
  REQUIRE(first.steps().size() == 2);
  REQUIRE(second.steps().size() == 1);
  const auto multiplier = [](const Pipeline& of, const Plan::Step& step) {
    return of.leaf(step.leaf).describe(*step.parameters).numbers("multipliers")[0];
  };
  CHECK(multiplier(often, first.steps()[1]) == multiplier(never, second.steps()[0]));
}

TEST_CASE("pipeline: what was drawn can be described and replayed", "[pipeline]") {
  for (const TreeKind kind : kTreeKinds) {
    CAPTURE(name_of(kind));
    const Tree tree = tree_of(kind);
    const Pipeline pipeline(make_tree(kind));
    const Data data = data_of(tree.geometry.image_channels, tree.geometry.shape, tree.geometry.segmentation_channels);
    sample::Workspace workspace;
    for (std::uint64_t step = 0; step < 10; ++step) {
      const SampleId id{.seed = 2, .step = step};
      Plan plan, again;
      pipeline.draw(id, tree.geometry, plan);
      std::vector<TraceEntry> trace;
      for (const Plan::Step& s : plan.steps()) trace.push_back({s.leaf, pipeline.leaf(s.leaf).describe(*s.parameters)});
      pipeline.restore(trace, id, tree.geometry, again);
      const Data first = run(pipeline, plan, data, workspace, nullptr, tree.geometry.dims);
      const Data second = run(pipeline, again, data, workspace, nullptr, tree.geometry.dims);
      CHECK(first.image == second.image);
      CHECK(first.content == second.content);
    }
  }
}

TEST_CASE("pipeline: a sample made in a batch is the sample made anywhere", "[pipeline]") {
  for (const TreeKind kind : kTreeKinds) {
    CAPTURE(name_of(kind));
    const Tree tree = tree_of(kind);
    const Pipeline pipeline(make_tree(kind));
    const auto layout = pipeline.layout(tree.geometry, true);
    REQUIRE(layout);
    CHECK(layout->image_channels == tree.image_channels);
    CHECK(layout->image_shape == tree.shape);
    CHECK(layout->targets.size() == tree.targets);
    const Data data = data_of(tree.geometry.image_channels, tree.geometry.shape, tree.geometry.segmentation_channels);
    sample::Workspace workspace, other;
    for (std::uint64_t step = 0; step < 30; ++step) {
      CAPTURE(step);
      Plan plan;
      pipeline.draw({.seed = 3, .step = step}, tree.geometry, plan);
      Slot slot(*layout);
      const Data in_batch = run(pipeline, plan, data, workspace, &slot.destination, tree.geometry.dims);
      const Data anywhere = run(pipeline, plan, data, other, nullptr, tree.geometry.dims);
      REQUIRE(slot.margins_untouched());
      slot.image.pop_back();
      CHECK(slot.image == anywhere.image);
      REQUIRE(anywhere.targets.size() == slot.targets.size());
      for (std::size_t i = 0; i < slot.targets.size(); ++i) {
        slot.targets[i].resize(slot.targets[i].size() - Slot::kMargin.size());
        CHECK(slot.targets[i] == anywhere.content[i]);
        CHECK(anywhere.targets[i].shape == layout->targets[i].shape);
        CHECK(anywhere.targets[i].type == layout->targets[i].type);
      }
      CHECK(in_batch.image == anywhere.image);
    }
  }
}

TEST_CASE("pipeline: the bound holds where channels come and go, and for transforms with memory of their own",
          "[pipeline]") {
  const auto move = [](const char* source, const char* target) {
    return transforms::make_transform("MoveChannelsTransform", record({{"channel_ids", Numbers{0}},
                                                                       {"source_key", std::string(source)},
                                                                       {"target_key", std::string(target)}}));
  };
  const auto smooth = [] {
    return transforms::make_transform("LocalSmoothingTransform", record({{"scale", Scalar::constant(5)},
                                                                         {"loc", Scalar::constant(0.5)},
                                                                         {"smoothing_strength", Scalar::constant(1)},
                                                                         {"kernel_size", Scalar::constant(1)},
                                                                         {"same_for_all_channels", true},
                                                                         {"p_per_channel", 1.0}}));
  };
  const auto turn = [] {
    return transforms::make_transform("Rot90Transform", record({{"num_axis_combinations", Scalar::constant(1)},
                                                                {"num_rot_per_combination", Numbers{1, 2, 3}},
                                                                {"allowed_axes", Numbers{0, 1, 2}}}));
  };
  std::vector<std::vector<Node>> trees;
  trees.push_back(nodes(Node::leaf(move("image", "image"))));
  trees.push_back(nodes(Node::leaf(move("segmentation", "image"))));
  trees.push_back(nodes(Node::leaf(move("segmentation", "image")), Node::leaf(move("segmentation", "segmentation"))));
  trees.push_back(nodes(Node::leaf(move("image", "image")), Node::leaf(turn())));
  trees.push_back(nodes(Node::leaf(turn()), Node::leaf(move("segmentation", "image")), Node::leaf(smooth())));
  const Data data = data_of(3, {18, 18, 18}, 3);
  for (std::size_t number = 0; number < trees.size(); ++number) {
    CAPTURE(number);
    const Pipeline pipeline(Node::compose(std::move(trees[number])));
    const auto layout = pipeline.layout(geometry_of(data), true);
    sample::Workspace workspace, other;
    for (std::uint64_t step = 0; step < 20; ++step) {
      Plan plan;
      pipeline.draw({.seed = 4, .step = step}, geometry_of(data), plan);
      Slot slot(*layout);
      const Data in_batch = run(pipeline, plan, data, workspace, &slot.destination, 3);
      CHECK(slot.margins_untouched());
      CHECK(in_batch.image == run(pipeline, plan, data, other, nullptr, 3).image);
    }
    CHECK(workspace.bytes() <= pipeline.workspace_bytes(geometry_of(data), *layout));
  }
}

TEST_CASE("pipeline: a transform that throws is named, and keeps what it threw", "[pipeline]") {
  const Pipeline pipeline(Node::compose(nodes(Node::leaf(transforms::make_transform(
      "MaskImageTransform",
      record({{"apply_to_channels", Numbers{5}}, {"channel_idx_in_seg", 0.0}, {"set_outside_to", 0.0}}))))));
  const Data data = data_of(1, {4, 4, 4});
  Plan plan;
  pipeline.draw({}, geometry_of(data), plan);
  sample::Workspace workspace;
  try {
    run(pipeline, plan, data, workspace);
    FAIL("nothing was thrown");
  } catch (const TransformError& error) {
    CHECK(error.transform() == "MaskImageTransform");
    CHECK_THROWS_AS(std::rethrow_exception(error.cause()), InvalidArgument);
  }
}

TEST_CASE("pipeline: applications are counted", "[pipeline]") {
  const Pipeline pipeline(Node::compose(nodes(brightness(), Node::random(noise(), 0.0), noise())));
  const Data data = data_of(1, {4, 4, 4});
  Plan plan;
  sample::Workspace workspace;
  for (std::uint64_t step = 0; step < 3; ++step) {
    pipeline.draw({.step = step}, geometry_of(data), plan);
    run(pipeline, plan, data, workspace);
  }
  // Others do its work, which takes next to nothing.
  CHECK(pipeline.statistics(0).count == 3);
  CHECK(pipeline.statistics(0).total > 0);
  CHECK(pipeline.statistics(1).count == 0);
  CHECK(pipeline.statistics(2).count == 3);
  CHECK(pipeline.statistics(2).total > 0);
}

TEST_CASE("pipeline: a replay of a transform that is not there is refused", "[pipeline]") {
  const Pipeline pipeline(Node::compose(nodes(brightness())));
  Plan plan;
  CHECK(has(message_of([&] { pipeline.restore({{1, record({})}}, {}, {1, 1, {4, 4, 4}}, plan); }), "[replay]"));
  CHECK(has(message_of([&] { pipeline.restore({{0, record({})}}, {}, {1, 1, {4, 4, 4}}, plan); }),
            "[MultiplicativeBrightnessTransform]"));
  CHECK_THROWS_AS(Node::one_of({}), InvalidArgument);
}

}  // namespace
}  // namespace fastnnunet::pipeline
