// What a thread holds for samples is what the budget was told before there was one.
#include "fastnnunet/pipeline/workspace_bytes.h"

#include <map>
#include <thread>
#include <utility>

#include "fastnnunet/platform/thread_room.h"
#include "pipeline/slot.h"
#include "pipeline/trees.h"
#include "transforms/examples.h"
#include "transforms/foreign.h"

namespace fastnnunet::pipeline {
namespace {

using namespace testing;

// Leaves one behind the other, and what they are given.
struct Example {
  std::vector<std::pair<std::string, Record>> leaves;
  Geometry geometry;
};

Record low_resolution(const Scalar& scale) {
  return record({{"scale", scale},
                 {"synchronize_channels", false},
                 {"synchronize_axes", false},
                 {"p_per_channel", 1.0},
                 {"ignore_axes", std::monostate{}},
                 {"allowed_channels", std::monostate{}}});
}

Record blur(const Scalar& sigma) {
  return record(
      {{"blur_sigma", sigma}, {"synchronize_channels", false}, {"synchronize_axes", false}, {"p_per_channel", 1.0}});
}

Record median(double low, double high) {
  return record({{"filter_size", Numbers{low, high}}, {"p_same_for_each_channel", 0.0}, {"p_per_channel", 1.0}});
}

Record turn(int dims, double p_elastic, const char* border) {
  Record attributes = testing::spatial(1, p_elastic, "bilinear");
  if (dims == 2) {
    attributes.set("patch_size", Numbers{21, 19});
    attributes.set("patch_center_dist_from_border", Numbers{0, 0});
  }
  attributes.set("padding_mode_image", std::string(border));
  attributes.set("border_mode_seg", std::string(border));
  return attributes;
}

Record move(const char* source, const char* target) {
  return record(
      {{"channel_ids", Numbers{0}}, {"source_key", std::string(source)}, {"target_key", std::string(target)}});
}

Record one_hot(bool remove) {
  return record(
      {{"source_channel_idx", 1.0}, {"all_labels", Numbers{1, 2, 3}}, {"remove_channel_from_source", remove}});
}

Record regions() { return record({{"channel_in_seg", 0.0}, {"regions", Rows{{1, 2, 3}, {2, 3}, {3}}}}); }

Record scales(const Rows& rows) { return record({{"ds_scales", rows}}); }

const Record kSmoothing = [] {
  Record attributes = local_attributes("smoothing_strength", Scalar::constant(1));
  attributes.set("kernel_size", Scalar::constant(30));
  return attributes;
}();

// Every transform with the attributes that take the most: kernels and windows larger than the image, scales above 1.
std::vector<Example> examples() {
  const Geometry cube{2, 2, {25, 30, 30}}, flat{2, 2, {6, 21, 100}}, plane{2, 1, {1, 40, 38}, 2};
  std::vector<Example> list;
  for (const auto& leaf : example_leaves()) list.push_back({{leaf}, cube});
  const auto add = [&](const Geometry& geometry, std::vector<std::pair<std::string, Record>> leaves) {
    list.push_back({std::move(leaves), geometry});
  };
  const auto kernel = [](const Record& attributes) { return std::pair("LocalSmoothingTransform", attributes); };
  for (const Geometry& geometry : {cube, flat, plane}) {
    add(geometry, {kernel(kSmoothing)});
    add(geometry, {{"MedianFilterTransform", median(2, 3)}});
    add(geometry, {{"SimulateLowResolutionTransform", low_resolution(Scalar::range(0.5, 1))}});
    add(geometry, {{"SimulateLowResolutionTransform", low_resolution(Scalar::range(1.5, 4))}});
    add(geometry, {{"SimulateLowResolutionTransform",
                    low_resolution(Scalar::callable(
                        [](const ScalarQuestion&, std::uint64_t seed) { return seed % 2 == 0 ? 0.5 : 8.0; }))}});
    add(geometry, {{"GaussianBlurTransform", blur(Scalar::range(0.2, geometry.shape[0] == 25 ? 7 : 1))}});
    add(geometry, {{"DownsampleSegForDSTransform", scales({{1}, {0.5}, {2}, {0.999}})}});
    add(geometry, {{"ConvertSegmentationToRegionsTransform", regions()},
                   {"DownsampleSegForDSTransform", scales({{0.5}, {0.25}})}});
    add(geometry, {{"MirrorTransform", record({{"allowed_axes", Numbers{0, 1}}})}});
  }
  add({1, 1, {1, 16, 128}, 2}, {{"MedianFilterTransform", median(100, 100)}});
  add({2, 1, {9, 9, 9}}, {{"MedianFilterTransform", median(9, 40)}});
  for (const char* border : {"zeros", "border", "reflection"}) {
    if (std::string(border) != "reflection") add(cube, {{"SpatialTransform", turn(3, 1, border)}});
    add(plane, {{"SpatialTransform", turn(2, 1, border)}});
  }
  add(cube, {{"SpatialTransform", turn(3, 0, "zeros")}, {"SpatialTransform", turn(3, 0, "zeros")}});
  add({2, 1, {7, 30, 26}},
      {{"Convert3DTo2DTransform", {}}, {"SpatialTransform", turn(2, 1, "zeros")}, {"Convert2DTo3DTransform", {}}});
  add({2, 1, {7, 30, 26}}, {{"GaussianBlurTransform", blur(Scalar::constant(0.5))},
                            {"Convert3DTo2DTransform", {}},
                            {"SpatialTransform", turn(2, 0, "zeros")},
                            {"Convert2DTo3DTransform", {}}});
  for (const char* source : {"image", "segmentation"})
    for (const char* target : {"image", "segmentation"}) {
      const Record moves = move(source, target);
      // A channel that becomes labels must hold labels.
      const bool labels = std::string(source) == "image" && std::string(target) == "segmentation";
      std::vector<std::pair<std::string, Record>> before;
      if (labels) before = {{"MoveSegAsOneHotToDataTransform", one_hot(false)}};
      Record last = moves;
      if (labels) last.set("channel_ids", Numbers{-1});
      before.emplace_back("MoveChannelsTransform", last);
      add(cube, before);
      before.emplace_back("SpatialTransform", turn(3, 0, "zeros"));
      add(cube, before);
    }
  for (const bool remove : {false, true}) {
    add(cube, {{"MoveSegAsOneHotToDataTransform", one_hot(remove)},
               {"ApplyRandomBinaryOperatorTransform", record({{"channel_idx", Numbers{-2, -1}},
                                                              {"strel_size", Scalar::range(1, 8)},
                                                              {"p_per_label", 1.0},
                                                              {"operators", Numbers{0, 1, 2, 3}}})},
               {"RemoveRandomConnectedComponentFromOneHotEncodingTransform",
                record({{"channel_idx", Numbers{-2, -1}},
                        {"fill_with_other_class_p", 0.5},
                        {"dont_do_if_covers_more_than_x_percent", 1.0},
                        {"p_per_label", 1.0}})}});
  }
  add(cube, {{"BlankRectangleTransform", record({{"rectangle_size", Rows{{5, 24}, {5, 29}, {5, 29}}},
                                                 {"square", false},
                                                 {"rectangle_value", std::monostate{}},
                                                 {"statistic", std::string("mean")},
                                                 {"num_rectangles", Numbers{1, 5}},
                                                 {"p_per_channel", 1.0}})}});
  add({1, 1, {6, 6, 6}}, {{"Rot90Transform", record({{"num_axis_combinations", Scalar::constant(2)},
                                                     {"num_rot_per_combination", Numbers{1, 2, 3}},
                                                     {"allowed_axes", Numbers{0, 1, 2}}})}});
  add({1, 1, {6, 6, 6}}, {{"TransposeAxesTransform", record({{"allowed_axes", Numbers{0, 1, 2}}})}});
  // Those of nnU-Net's trees that need no more than these attributes.
  add(cube,
      {{"GaussianNoiseTransform",
        record({{"noise_variance", Scalar::constant(0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", false}})},
       {"MultiplicativeBrightnessTransform",
        record({{"multiplier_range", Scalar::constant(1.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", false}})},
       {"ContrastTransform", record({{"contrast_range", Scalar::constant(1.1)},
                                     {"preserve_range", true},
                                     {"p_per_channel", 1.0},
                                     {"synchronize_channels", false}})},
       {"GammaTransform", record({{"gamma", Scalar::constant(1.2)},
                                  {"p_invert_image", 1.0},
                                  {"synchronize_channels", false},
                                  {"p_per_channel", 1.0},
                                  {"p_retain_stats", 1.0}})},
       {"RemoveLabelTransform",
        record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}})}});
  return list;
}

Data data_for(const Geometry& geometry) {
  return data_of(geometry.image_channels, geometry.shape, geometry.segmentation_channels);
}

// What a thread that has never worked before holds after some samples: buffers of the workspace, and rows of its own.
struct Held {
  sample::Workspace::ScratchSizes scratch{};
  std::size_t rooms = 0;
  std::size_t all = 0;
};
Held held_by(const Pipeline& pipeline, const Geometry& geometry, const std::optional<Layout>& layout,
             int samples = 12) {
  Held held;
  std::exception_ptr failure;
  std::thread([&] {
    try {
      const Data data = data_for(geometry);
      sample::Workspace workspace;
      for (std::uint64_t step = 0; step < static_cast<std::uint64_t>(samples); ++step) {
        std::optional<Slot> slot;
        if (layout) slot.emplace(*layout);
        sample::Sample sample(workspace);
        sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
        sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
        sample.begin(image, &labels, geometry.dims, slot ? &slot->destination : nullptr);
        Plan plan;
        pipeline.draw({.seed = 11, .step = step}, sample.geometry(), plan);
        pipeline.run(sample, plan);
      }
      held = {workspace.scratch_bytes(), platform::thread_room_bytes(),
              workspace.bytes() + platform::thread_room_bytes()};
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return held;
}

TEST_CASE("workspace bytes: every transform stays within the memory that it says it takes", "[pipeline]") {
  std::map<std::string, int> seen;
  int number = 0;
  for (const Example& example : examples()) {
    CAPTURE(number++, example.leaves.back().first, example.geometry.shape[2]);
    std::vector<Node> nodes;
    for (const auto& [name, attributes] : example.leaves) {
      nodes.push_back(Node::leaf(transforms::make_transform(name, attributes)));
      ++seen[name];
    }
    const Pipeline pipeline(Node::compose(std::move(nodes)));
    sample::Workspace::ScratchSizes scratch{};
    std::size_t rooms = 0;
    Geometry at = example.geometry;
    for (std::size_t leaf = 0; leaf < pipeline.leaves(); ++leaf) {
      const sample::Workspace::ScratchSizes of_leaf = pipeline.leaf(leaf).scratch_bytes(at);
      for (std::size_t i = 0; i < scratch.size(); ++i)
        scratch[i] = std::max(scratch[i], platform::Buffer::rounded(of_leaf[i]));
      rooms += pipeline.leaf(leaf).room_bytes(at);
      at = pipeline.leaf(leaf).after(at);
    }
    const auto layout = pipeline.layout(example.geometry, true);
    REQUIRE(layout);
    const Held held = held_by(pipeline, example.geometry, layout);
    for (std::size_t i = 0; i < scratch.size(); ++i) {
      CAPTURE(i);
      CHECK(held.scratch[i] <= scratch[i]);
    }
    CHECK(held.rooms <= rooms);
    CHECK(held.all <= pipeline.workspace_bytes(example.geometry, *layout));
  }
  for (const auto& [name, make] : transforms::transform_table()) {
    CAPTURE(name);
    CHECK(seen.contains(std::string(name)));
  }
}

TEST_CASE("workspace bytes: the plan that a sample runs bounds what it takes, below the plan of all leaves",
          "[pipeline]") {
  for (const TreeKind kind : kTreeKinds) {
    CAPTURE(name_of(kind));
    const Tree tree = tree_of(kind);
    const Pipeline pipeline(make_tree(kind));
    const auto layout = pipeline.layout(tree.geometry, true);
    const Data data = data_for(tree.geometry);
    const std::size_t all = pipeline.workspace_bytes(tree.geometry, *layout);
    std::size_t least = all;
    for (std::uint64_t step = 0; step < 20; ++step) {
      CAPTURE(step);
      sample::Workspace workspace;
      Slot slot(*layout);
      sample::Sample sample(workspace);
      sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
      sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
      sample.begin(image, &labels, tree.geometry.dims, &slot.destination);
      Plan plan;
      pipeline.draw({.seed = 12, .step = step}, sample.geometry(), plan);
      pipeline.run(sample, plan);
      const std::size_t bound = workspace_bytes(plan.steps(), tree.geometry, *layout);
      CHECK(workspace.bytes() <= bound);
      CHECK(bound <= all);
      least = std::min(least, bound);
    }
    if (kind != TreeKind::validation) CHECK(least < all);
  }
}

TEST_CASE("workspace bytes: what transforms in Python add is counted, and what comes after them", "[pipeline]") {
  const Geometry geometry{2, 1, {12, 14, 16}};
  const auto with_channels = [](sample::Sample& sample) {
    const sample::Array<float> before = sample.image();
    const sample::Array<float> image = sample.new_image(before.channels + 3, before.shape);
    std::copy_n(before.data, before.size(), image.data);
    std::fill(image.data + before.size(), image.data + image.size(), 1.0f);
    sample.set_image(image);
  };
  const auto larger = [](sample::Sample& sample) {
    const Index3 shape{20, 22, 24};
    const sample::Array<float> image = sample.new_image(sample.image().channels, shape);
    std::fill_n(image.data, image.size(), 1.0f);
    const sample::Array<std::int16_t> labels = sample.new_segmentation(sample.segmentation().channels, shape);
    std::fill_n(labels.data, labels.size(), std::int16_t{1});
    sample.set_image(image);
    sample.set_segmentation(labels);
  };
  const auto with_labels = [](sample::Sample& sample) {
    const sample::Array<std::int16_t> before = sample.segmentation();
    const sample::Array<std::int16_t> labels = sample.new_segmentation(before.channels + 2, before.shape);
    std::fill_n(labels.data, labels.size(), std::int16_t{1});
    sample.set_segmentation(labels);
  };
  for (const Foreign::Body& body : std::vector<Foreign::Body>{with_channels, larger, with_labels}) {
    std::vector<Node> nodes;
    nodes.push_back(Node::leaf(transforms::make_transform("GaussianBlurTransform", blur(Scalar::constant(0.5)))));
    nodes.push_back(Node::leaf(std::make_unique<Foreign>("Foreign", body)));
    nodes.push_back(Node::leaf(transforms::make_transform("MedianFilterTransform", median(4, 4))));
    nodes.push_back(Node::leaf(transforms::make_transform("DownsampleSegForDSTransform", scales({{0.5}}))));
    const Pipeline pipeline(Node::compose(std::move(nodes)));
    REQUIRE_FALSE(pipeline.layout(geometry, true));
    // As the loader learns it: from a sample.
    sample::Workspace workspace;
    sample::Sample sample(workspace);
    const Data data = data_for(geometry);
    sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
    sample.begin(image, &labels, 3, nullptr);
    Plan plan;
    pipeline.draw({}, sample.geometry(), plan);
    pipeline.run(sample, plan);
    const Layout layout = Pipeline::layout_of(sample, sample.image());
    const Held held = held_by(pipeline, geometry, layout);
    CHECK(held.all <= pipeline.workspace_bytes(geometry, layout));
    CHECK(pipeline.workspace_bytes(geometry, layout) <= 4 * held.all + 65536);
  }
}

TEST_CASE("workspace bytes: nnU-Net's trees stay below the bound that the budget counts", "[pipeline]") {
  for (const TreeKind kind : kTreeKinds) {
    CAPTURE(name_of(kind));
    const Tree tree = tree_of(kind);
    const Pipeline pipeline(make_tree(kind, 1.0));  // everything, always
    const auto layout = pipeline.layout(tree.geometry, true);
    const std::size_t held = held_by(pipeline, tree.geometry, layout, 40).all;
    const std::size_t bound = pipeline.workspace_bytes(tree.geometry, *layout);
    CHECK(held <= bound);
    CHECK(bound <= 2 * held + 65536);  // no fantasy
  }
}

}  // namespace
}  // namespace fastnnunet::pipeline
