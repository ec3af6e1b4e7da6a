// From plan to plan, without a voxel: what each step is given to do, in words.
#include "fastnnunet/pipeline/passes.h"

#include "fastnnunet/pipeline/pipeline.h"
#include "pipeline/trees.h"
#include "transforms/foreign.h"

namespace fastnnunet::pipeline {
namespace {

using namespace testing;

// A leaf, and what a trace says of its application.
struct Applied {
  std::unique_ptr<transforms::Transform> transform;
  Record parameters;
};

Applied applied(const char* name, const Record& attributes, const Record& parameters) {
  return {transforms::make_transform(name, attributes), parameters};
}

Applied spatial(int dims = 3) {
  Record parameters = record(
      {{"center_location_in_pixels", Numbers(static_cast<std::size_t>(dims), 5.0)}, {"affine", std::monostate{}}});
  return applied("SpatialTransform", spatial_attributes(Numbers(static_cast<std::size_t>(dims), 8.0), 0, 0, 0),
                 parameters);
}

Applied mirror(const Numbers& axes) {
  return applied("MirrorTransform", record({{"allowed_axes", Numbers{0, 1, 2}}}), record({{"axes", axes}}));
}

// Turns of the plane of two axes.
Applied rot90(double turns, double first, double second) {
  return applied(
      "Rot90Transform",
      record({{"num_axis_combinations", Scalar::constant(1)},
              {"num_rot_per_combination", Numbers{1, 2, 3}},
              {"allowed_axes", Numbers{0, 1, 2}}}),
      record({{"num_rot_per_combination", Numbers{turns}}, {"axis_combinations", Rows{{first + 1, second + 1}}}}));
}

Applied transpose(const Numbers& order) {
  Numbers with_channels{0};
  for (const double axis : order) with_channels.push_back(axis + 1);
  return applied("TransposeAxesTransform", record({{"allowed_axes", Numbers{0, 1, 2}}}),
                 record({{"axis_order", with_channels}}));
}

Applied brightness(const Numbers& channels, const Numbers& multipliers) {
  return applied(
      "MultiplicativeBrightnessTransform",
      record({{"multiplier_range", Scalar::constant(1)}, {"p_per_channel", 1.0}, {"synchronize_channels", false}}),
      record({{"apply_to_channel", channels}, {"multipliers", multipliers}}));
}

Applied shift(double channel, const Numbers& of_all) {
  return applied("BrightnessAdditiveTransform",
                 record({{"mu", 0.0}, {"sigma", 1.0}, {"synchronize_channels", false}, {"p_per_channel", 1.0}}),
                 record({{"apply_to_channel", Numbers{channel}}, {"shift", of_all}}));
}

Applied contrast(const Numbers& channels) {
  return applied("ContrastTransform",
                 record({{"contrast_range", Scalar::constant(1)},
                         {"preserve_range", true},
                         {"p_per_channel", 1.0},
                         {"synchronize_channels", false}}),
                 record({{"apply_to_channel", channels}, {"multipliers", Numbers(channels.size(), 1.1)}}));
}

Applied gamma(const Numbers& channels) {
  const Numbers ones(channels.size(), 1.0);
  return applied("GammaTransform",
                 record({{"gamma", Scalar::constant(1)},
                         {"p_invert_image", 0.0},
                         {"synchronize_channels", false},
                         {"p_per_channel", 1.0},
                         {"p_retain_stats", 1.0}}),
                 record({{"apply_to_channel", channels},
                         {"retain_stats", ones},
                         {"invert_image", Numbers(channels.size(), 0.0)},
                         {"gamma", ones}}));
}

Applied invert(const Numbers& channels) {
  return applied("InvertImageTransform",
                 record({{"p_invert_image", 1.0}, {"p_synchronize_channels", 1.0}, {"p_per_channel", 1.0}}),
                 record({{"apply", true}, {"apply_to_channel", channels}}));
}

Applied noise() {
  return applied(
      "GaussianNoiseTransform",
      record({{"noise_variance", Scalar::constant(0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", true}}),
      record({{"apply_to_channel", Numbers{0}}, {"sigmas", Numbers{0.1}}}));
}

Applied remove_label() {
  return applied("RemoveLabelTransform",
                 record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}}),
                 record({}));
}

Applied mask() {
  return applied("MaskImageTransform",
                 record({{"apply_to_channels", Numbers{0}}, {"channel_idx_in_seg", 0.0}, {"set_outside_to", 0.0}}),
                 record({}));
}

Applied regions() {
  return applied("ConvertSegmentationToRegionsTransform",
                 record({{"channel_in_seg", 0.0}, {"regions", Rows{{1, 2}, {2}}}}), record({}));
}

Applied scales() {
  return applied("DownsampleSegForDSTransform", record({{"ds_scales", Rows{{1}, {0.5}}}}), record({}));
}

Applied fold() { return applied("Convert3DTo2DTransform", record({}), record({})); }
Applied unfold() { return applied("Convert2DTo3DTransform", record({}), record({})); }

Applied foreign() {
  return {std::make_unique<Foreign>("Foreign", [](sample::Sample&) {}), record({})};
}

// A pipeline, and the plan of a sample that goes through its leaves.
struct Planned {
  template <typename... All>
  explicit Planned(All... all) {
    std::vector<Node> nodes;
    std::vector<TraceEntry> trace;
    const auto add = [&](Applied one) {
      trace.push_back({nodes.size(), std::move(one.parameters)});
      nodes.push_back(Node::leaf(std::move(one.transform)));
    };
    (add(std::move(all)), ...);
    pipeline = std::make_unique<Pipeline>(Node::compose(std::move(nodes)));
    pipeline->restore(trace, {}, {2, 1, {8, 8, 8}}, plan);
  }
  std::unique_ptr<Pipeline> pipeline;
  Plan plan;
};

std::string short_name(const Plan::Step& step) {
  const std::string name(step.transform->name());
  return name.substr(0, name.find("Transform"));
}

// Where each axis of the result comes from; small letters are backwards.
std::string text(const sample::AxisPermutation& move) {
  std::string letters;
  for (std::size_t axis = 0; axis < 3; ++axis)
    letters += (move.reversed[axis] ? "xyz" : "XYZ")[static_cast<std::size_t>(move.from[axis])];
  return letters;
}

std::string text(const Plan& plan, std::span<const Plan::Arithmetic> arithmetic) {
  std::string list;
  for (const Plan::Arithmetic& left : arithmetic)
    list.append(list.empty() ? "" : " ")
        .append(short_name(plan.steps()[left.from]))
        .append(std::to_string(left.channel));
  return list;
}

// "Spatial xYZ/XYZ, Contrast (Gamma0), end (Gamma1)": the steps that run; moves of the image and of the labels; and the
// arithmetic that is done first, by the step that leaves it and the channel.
std::string text(const Plan& plan) {
  std::string list;
  for (const Plan::Step& step : plan.steps()) {
    if (step.state != Plan::State::runs) continue;
    list.append(list.empty() ? "" : ", ").append(short_name(step));
    if (step.moves.changes())
      list.append(" ").append(text(step.moves.image)).append("/").append(text(step.moves.labels));
    if (const std::string first = text(plan, plan.arithmetic(step)); !first.empty())
      list.append(" (").append(first).append(")");
  }
  if (const std::string last = text(plan, plan.arithmetic_at_end()); !last.empty())
    list.append(", end (").append(last).append(")");
  return list;
}

template <typename... All>
std::string optimised(All... all) {
  Planned planned(std::move(all)...);
  optimise(planned.plan);
  return text(planned.plan);
}

TEST_CASE("passes: without any, each step does all that its parameters say", "[pipeline]") {
  Planned planned(spatial(), brightness({0}, {1.5}), mirror({0}), mirror({}), gamma({1}));
  forget_passes(planned.plan);
  const char* plain = "Spatial, MultiplicativeBrightness, Mirror xYZ/xYZ, Mirror, Gamma";
  CHECK(text(planned.plan) == plain);
  optimise(planned.plan);
  CHECK(text(planned.plan) == "Spatial xYZ/xYZ, Gamma, end (MultiplicativeBrightness0 Gamma1)");
  forget_passes(planned.plan);
  CHECK(text(planned.plan) == plain);
}

TEST_CASE("passes: what does nothing is dropped", "[pipeline]") {
  Planned planned(mirror({}), brightness({}, {}), rot90(4, 0, 1), transpose({0, 1, 2}), contrast({}), gamma({0}));
  forget_passes(planned.plan);
  drop_idle(planned.plan);
  CHECK(text(planned.plan) == "Gamma");
  CHECK(planned.plan.steps()[0].state == Plan::State::idle);
}

TEST_CASE("passes: moves sink into the first write", "[pipeline]") {
  CHECK(optimised(spatial(), mirror({0, 2})) == "Spatial xYz/xYz");
  CHECK(optimised(spatial(), rot90(1, 0, 1)) == "Spatial yXZ/yXZ");
  CHECK(optimised(spatial(), transpose({2, 0, 1})) == "Spatial ZXY/ZXY");
  CHECK(optimised(spatial(), transpose({2, 0, 1}), mirror({0})) == "Spatial zXY/zXY");
  CHECK(optimised(spatial(), mirror({0}), transpose({2, 0, 1})) == "Spatial ZxY/ZxY");
  CHECK(optimised(spatial(), rot90(1, 0, 1), transpose({1, 0, 2}), mirror({1})) == "Spatial");
  // What makes no difference by where voxels lie is passed.
  CHECK(optimised(spatial(), remove_label(), mirror({1})) == "Spatial XyZ/XyZ, RemoveLabel");
  CHECK(optimised(spatial(), brightness({0}, {2}), mirror({1})) == "Spatial XyZ/XyZ, end (MultiplicativeBrightness0)");
  // Into the last write before, not into an earlier one.
  CHECK(optimised(spatial(), mirror({0}), spatial(), mirror({1})) == "Spatial xYZ/xYZ, Spatial XyZ/XyZ");
}

TEST_CASE("passes: moves that undo each other are none", "[pipeline]") {
  CHECK(optimised(spatial(), mirror({0}), mirror({0})) == "Spatial");
  CHECK(optimised(mirror({0}), mirror({0})) == "");
  CHECK(optimised(noise(), rot90(1, 0, 2), rot90(3, 0, 2)) == "GaussianNoise");
}

TEST_CASE("passes: image and labels sink each as far as they can", "[pipeline]") {
  CHECK(optimised(spatial(), noise(), mirror({1})) == "Spatial XYZ/XyZ, GaussianNoise, Mirror XyZ/XYZ");
  CHECK(optimised(spatial(), regions(), mirror({1})) ==
        "Spatial XyZ/XYZ, ConvertSegmentationToRegions, Mirror XYZ/XyZ");
  // Of a mask both must lie alike.
  CHECK(optimised(spatial(), mask(), mirror({1})) == "Spatial, MaskImage, Mirror XyZ/XyZ");
  // Without a write before, the first move takes those that follow.
  CHECK(optimised(noise(), rot90(1, 0, 1), brightness({0}, {2}), transpose({2, 0, 1}), mirror({0})) ==
        "GaussianNoise, Rot90 zyX/zyX, end (MultiplicativeBrightness0)");
  CHECK(optimised(mirror({0}), noise(), mirror({1})) == "Mirror xYZ/xyZ, GaussianNoise, Mirror XyZ/XYZ");
}

TEST_CASE("passes: in pseudo-2D moves stay among the planes, or behind them", "[pipeline]") {
  CHECK(optimised(fold(), spatial(2), mirror({0}), unfold()) == "Convert3DTo2D, Spatial XyZ/XyZ, Convert2DTo3D");
  CHECK(optimised(fold(), spatial(2), unfold(), mirror({0})) ==
        "Convert3DTo2D, Spatial, Convert2DTo3D, Mirror xYZ/xYZ");
}

TEST_CASE("passes: nothing sinks past Python, or to where Python may stand in", "[pipeline]") {
  CHECK(optimised(spatial(), foreign(), mirror({0})) == "Spatial, Foreign, Mirror xYZ/xYZ");
  CHECK(optimised(foreign(), spatial(), mirror({0})) == "Foreign, Spatial, Mirror xYZ/xYZ");
  CHECK(optimised(foreign(), mirror({0}), mirror({1})) == "Foreign, Mirror xYZ/xYZ, Mirror XyZ/XyZ");
  // Behind the scales of deep supervision, and of regions those that do not take them.
  CHECK(optimised(spatial(), scales(), mirror({0})) == "Spatial, DownsampleSegForDS, Mirror xYZ/xYZ");
  CHECK(optimised(regions(), spatial(), mirror({0})) == "ConvertSegmentationToRegions, Spatial, Mirror xYZ/xYZ");
  CHECK(optimised(spatial(), mirror({0}), foreign()) == "Spatial xYZ/xYZ, Foreign");
}

TEST_CASE("passes: pointwise arithmetic is folded into the next that reads the channel", "[pipeline]") {
  CHECK(optimised(brightness({0, 1}, {2, 3}), contrast({1}), noise()) ==
        "Contrast (MultiplicativeBrightness1), GaussianNoise (MultiplicativeBrightness0)");
  // Gamma and an inversion leave what only their voxels tell.
  CHECK(optimised(gamma({0}), brightness({0}, {2}), contrast({0})) ==
        "Gamma, Contrast (Gamma0 MultiplicativeBrightness0)");
  CHECK(optimised(gamma({0, 1}), gamma({1})) == "Gamma, Gamma (Gamma1), end (Gamma0 Gamma1)");
  CHECK(optimised(brightness({0}, {2}), invert({0}), shift(0, {1, 1})) ==
        "InvertImage (MultiplicativeBrightness0), end (InvertImage0 BrightnessAdditive0)");
  // A mirror does it on its way, if it touches the image at all; labels are nobody's arithmetic.
  CHECK(optimised(noise(), brightness({0}, {2}), mirror({0})) ==
        "GaussianNoise, Mirror xYZ/xYZ (MultiplicativeBrightness0)");
  CHECK(optimised(spatial(), brightness({0}, {2}), remove_label(), scales()) ==
        "Spatial, RemoveLabel, DownsampleSegForDS, end (MultiplicativeBrightness0)");
  CHECK(optimised(spatial(), noise(), brightness({0}, {2}), mirror({0})) ==
        "Spatial XYZ/xYZ, GaussianNoise, Mirror xYZ/XYZ (MultiplicativeBrightness0)");
  // A channel that is named twice leaves its rest once.
  CHECK(optimised(gamma({0, 0})) == "Gamma, end (Gamma0)");
}

TEST_CASE("passes: what is known of the arithmetic is in the plan", "[pipeline]") {
  Planned planned(brightness({0}, {2}), shift(0, {0.5, 7}), brightness({0}, {4}), noise());
  optimise(planned.plan);
  sample::Linear all;
  for (const Plan::Arithmetic& left : planned.plan.arithmetic(planned.plan.steps().back())) all = all.then(left.value);
  CHECK(all == sample::Linear{8, 2});  // (2 v + 0.5) 4
}

TEST_CASE("passes: what has run already stays as it is", "[pipeline]") {
  Planned planned(spatial(), brightness({0}, {2}), noise(), brightness({1}, {3}), mirror({1}), gamma({0}));
  optimise(planned.plan);
  const std::string all = text(planned.plan);
  CHECK(all ==
        "Spatial XYZ/XyZ, GaussianNoise (MultiplicativeBrightness0), Mirror XyZ/XYZ (MultiplicativeBrightness1), "
        "Gamma, end (Gamma0)");
  optimise(planned.plan, 3);
  CHECK(text(planned.plan) ==
        "Spatial XYZ/XyZ, GaussianNoise (MultiplicativeBrightness0), Mirror XyZ/XyZ (MultiplicativeBrightness1), "
        "Gamma, end (Gamma0)");
}

TEST_CASE("passes: axes that a sample does not have are the mirror's mistake", "[pipeline]") {
  const Pipeline pipeline(
      Node::leaf(transforms::make_transform("MirrorTransform", record({{"allowed_axes", Numbers{2}}}))));
  Plan plan;
  std::uint64_t step = 0;
  do pipeline.draw({.step = step++}, {1, 1, {1, 8, 8}, 2}, plan);
  while (!pipeline.leaf(0).acts(*plan.steps()[0].parameters));
  CHECK(message_of([&] { optimise(plan); }).starts_with("[MirrorTransform] [MirrorTransform] expected axes of a 2D"));
}

}  // namespace
}  // namespace fastnnunet::pipeline
