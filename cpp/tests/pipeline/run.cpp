// What passes save makes no difference to the voxels.
#include <algorithm>
#include <cmath>
#include <utility>

#include "fastnnunet/pipeline/passes.h"
#include "pipeline/leaves.h"
#include "pipeline/trees.h"

namespace fastnnunet::pipeline {
namespace {

using namespace testing;

TEST_CASE("pipeline: a mirror's work is done by whoever writes the voxels first, to the same bits", "[pipeline]") {
  // Once with a second resampling and a second mirror behind the first.
  for (const auto& [kind, twice] :
       {std::pair(TreeKind::full_3d, false), std::pair(TreeKind::full_3d, true), std::pair(TreeKind::plane_2d, false),
        std::pair(TreeKind::cascade, false), std::pair(TreeKind::regions, false)}) {
    CAPTURE(name_of(kind), twice);
    const Geometry geometry = tree_of(kind).geometry;
    const Data data = data_of(geometry.image_channels, geometry.shape, geometry.segmentation_channels);
    int ahead = 0;
    // As often as nnU-Net has them, so that there are samples with nothing between crop and mirror.
    Node tree = make_tree(kind);
    if (twice) tree = Node::compose(nodes(std::move(make_tree(kind).children.front()), mirror(), std::move(tree)));
    const Pipeline pipeline(std::move(tree));
    for (std::uint64_t step = 0; step < 60; ++step) {
      CAPTURE(step);
      Plan plan;
      pipeline.draw({.seed = 3, .step = step}, geometry, plan);
      sample::Workspace first, second;
      const Data expected = [&] {
        sample::Sample sample(first);
        sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
        sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
        sample.begin(image, &labels, geometry.dims, nullptr);
        forget_passes(plan);
        drop_idle(plan);
        fold_arithmetic(plan);
        pipeline.execute(sample, plan);
        return finished(sample);
      }();
      sample::Sample sample(second);
      sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
      sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
      sample.begin(image, &labels, geometry.dims, nullptr);
      pipeline.run(sample, plan);
      ahead += std::any_of(plan.steps().begin(), plan.steps().end(), [](const Plan::Step& one) {
        return one.transform->traits().writes_permuted && one.moves.image.changes();
      });
      const Data found = finished(sample);
      REQUIRE(found.image == expected.image);
      REQUIRE(found.labels == expected.labels);
      REQUIRE(found.content == expected.content);
    }
    CHECK(ahead > 3);
  }
}

TEST_CASE("pipeline: arithmetic that is left to others gives what each transform by itself gives", "[pipeline]") {
  const Geometry geometry{2, 1, {10, 12, 14}};
  const Data data = data_of(2, geometry.shape, 1);
  const auto leaf = [](std::uint64_t kind) {
    switch (kind) {
      case 0:
        return Node::leaf(transforms::make_transform("MultiplicativeBrightnessTransform",
                                                     record({{"multiplier_range", Scalar::range(0.75, 1.25)},
                                                             {"p_per_channel", 0.6},
                                                             {"synchronize_channels", false}})));
      case 1:
        return Node::leaf(transforms::make_transform(
            "BrightnessAdditiveTransform",
            record({{"mu", 0.0}, {"sigma", 0.5}, {"synchronize_channels", false}, {"p_per_channel", 0.6}})));
      case 2:
        return Node::leaf(
            transforms::make_transform("ContrastTransform", record({{"contrast_range", Scalar::range(0.75, 1.25)},
                                                                    {"preserve_range", true},
                                                                    {"p_per_channel", 0.6},
                                                                    {"synchronize_channels", false}})));
      case 3:
        return Node::leaf(transforms::make_transform("GammaTransform", record({{"gamma", Scalar::range(0.7, 1.5)},
                                                                               {"p_invert_image", 0.5},
                                                                               {"synchronize_channels", false},
                                                                               {"p_per_channel", 0.6},
                                                                               {"p_retain_stats", 1.0}})));
      case 4:
        return Node::leaf(transforms::make_transform(
            "InvertImageTransform",
            record({{"p_invert_image", 0.8}, {"p_synchronize_channels", 0.0}, {"p_per_channel", 0.6}})));
      case 5:
        return noise();
      default:
        return mirror();
    }
  };
  sample::Workspace first, second;
  for (std::uint64_t tree = 0; tree < 60; ++tree) {
    CAPTURE(tree);
    random::Stream order(SampleId{.seed = tree}, 1);
    std::vector<Node> list;
    for (int i = 0; i < 6; ++i) list.push_back(leaf(order.below(7)));
    const Pipeline pipeline(Node::compose(std::move(list)));
    Plan plan;
    pipeline.draw({.seed = tree}, geometry, plan);
    const Data found = run(pipeline, plan, data, first);
    sample::Sample sample(second);
    sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
    sample.begin(image, &labels, 3, nullptr);
    forget_passes(plan);
    pipeline.execute(sample, plan);
    const Data expected = finished(sample);
    float furthest = 0;
    for (std::size_t i = 0; i < found.image.size(); ++i)
      furthest = std::max(furthest, std::abs(found.image[i] - expected.image[i]));
    CHECK(furthest < 1e-4f);  // of a range of about 8
  }
}

TEST_CASE("pipeline: turns and exchanged axes are done by whoever writes the voxels first, to the same bits",
          "[pipeline]") {
  const auto turns = [](const Numbers& axes) {
    std::vector<Node> list;
    list.push_back(
        Node::leaf(transforms::make_transform("Rot90Transform", record({{"num_axis_combinations", Scalar::constant(2)},
                                                                        {"num_rot_per_combination", Numbers{1, 2, 3}},
                                                                        {"allowed_axes", axes}}))));
    list.push_back(Node::leaf(transforms::make_transform("TransposeAxesTransform", record({{"allowed_axes", axes}}))));
    list.push_back(Node::leaf(transforms::make_transform("MirrorTransform", record({{"allowed_axes", axes}}))));
    return list;
  };
  struct Case {
    Geometry geometry;
    Numbers patch, axes;
    double p_turned;
    const char* border;
  };
  const std::vector<Case> cases = {
      {{2, 1, {24, 26, 25}}, {19, 19, 19}, {0, 1, 2}, 0, "zeros"},  // crops
      {{2, 1, {24, 26, 25}}, {19, 19, 19}, {0, 1, 2}, 1, "zeros"},
      {{2, 1, {24, 26, 25}}, {19, 19, 7}, {0, 1}, 0.5, "zeros"},     // rows stay rows
      {{2, 1, {24, 26, 25}}, {5, 19, 19}, {1, 2}, 0.5, "zeros"},     // planes stay planes
      {{2, 1, {12, 26, 25}}, {19, 19, 19}, {0, 1, 2}, 0, "border"},  // a crop that reaches beyond the window
      {{2, 1, {1, 26, 25}, 2}, {19, 19}, {0, 1}, 0.5, "zeros"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.patch, one.axes, one.p_turned);
    Record attributes = spatial_attributes(one.patch, 0.5, one.p_turned, one.p_turned);
    attributes.set("padding_mode_image", std::string(one.border));
    attributes.set("border_mode_seg", std::string(one.border));
    std::vector<Node> list;
    list.push_back(Node::leaf(transforms::make_transform("SpatialTransform", attributes)));
    for (Node& node : turns(one.axes)) list.push_back(std::move(node));
    const Pipeline pipeline(Node::compose(std::move(list)));
    const Data data = data_of(2, one.geometry.shape, 1);
    int exchanged = 0;
    for (std::uint64_t step = 0; step < 12; ++step) {
      CAPTURE(step);
      Plan plan;
      pipeline.draw({.seed = 6, .step = step}, one.geometry, plan);
      sample::Workspace first, second;
      const Data found = run(pipeline, plan, data, first, nullptr, one.geometry.dims);
      exchanged += !plan.steps()[0].moves.image.only_flips();
      sample::Sample sample(second);
      sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
      sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
      sample.begin(image, &labels, one.geometry.dims, nullptr);
      forget_passes(plan);
      pipeline.execute(sample, plan);
      const Data expected = finished(sample);
      REQUIRE(found.image == expected.image);
      REQUIRE(found.labels == expected.labels);
    }
    CHECK(exchanged > 3);
  }
}

TEST_CASE("pipeline: long rows of a scaled patch are turned around as a whole", "[pipeline]") {
  // Longer than what is interpolated at once.
  const Geometry geometry{1, 1, {3, 5, 420}};
  const Data data = data_of(1, geometry.shape, 1);
  const Record scaling = spatial_attributes({2, 4, 300}, 0.0, 0.0, 1.0);
  const Pipeline turned(
      Node::compose(nodes(Node::leaf(transforms::make_transform("SpatialTransform", scaling)), mirror())));
  int rows_turned = 0;
  for (std::uint64_t step = 0; step < 8; ++step) {
    CAPTURE(step);
    Plan plan;
    turned.draw({.seed = 4, .step = step}, geometry, plan);
    sample::Workspace first, second;
    const Data found = run(turned, plan, data, first);
    sample::Sample sample(second);
    sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
    sample.begin(image, &labels, 3, nullptr);
    for (const Plan::Step& one : plan.steps()) turned.leaf(one.leaf).apply(sample, *one.parameters, one.field);
    sample.finish();
    const Data expected = finished(sample);
    REQUIRE(found.image == expected.image);
    REQUIRE(found.labels == expected.labels);
    const Plan::Step& last = plan.steps().back();
    const Numbers axes = turned.leaf(last.leaf).describe(*last.parameters).numbers("axes");
    rows_turned += std::count(axes.begin(), axes.end(), 2.0) == 1;
  }
  CHECK(rows_turned > 0);
}

}  // namespace
}  // namespace fastnnunet::pipeline
