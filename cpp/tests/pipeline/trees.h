// The trees of transforms that nnU-Net's trainer builds for its kinds of data sets, on small patches.
#pragma once

#include <numbers>
#include <vector>

#include "fastnnunet/pipeline/pipeline.h"
#include "transforms/spatial/attributes.h"

namespace fastnnunet::testing {

enum class TreeKind { full_3d, plane_2d, dummy_2d, cascade, regions, no_full_scale, intensity_first, validation };
inline constexpr TreeKind kTreeKinds[] = {TreeKind::full_3d,         TreeKind::plane_2d,  TreeKind::dummy_2d,
                                          TreeKind::cascade,         TreeKind::regions,   TreeKind::no_full_scale,
                                          TreeKind::intensity_first, TreeKind::validation};

inline const char* name_of(TreeKind kind) {
  static constexpr const char* kNames[] = {
      "3D", "2D", "dummy 2D", "cascade", "regions", "no target at full scale", "intensity first", "validation"};
  return kNames[static_cast<int>(kind)];
}

// What goes into a tree and what must come out.
struct Tree {
  Geometry geometry;
  Index3 shape;
  std::int64_t image_channels;
  std::size_t targets;
};

inline Tree tree_of(TreeKind kind) {
  switch (kind) {
    case TreeKind::plane_2d:
      return {{2, 1, {1, 20, 22}, 2}, {1, 14, 16}, 2, 2};
    case TreeKind::dummy_2d:
      return {{2, 1, {6, 20, 22}}, {6, 14, 16}, 2, 2};
    case TreeKind::cascade:
      return {{2, 2, {18, 20, 22}}, {12, 14, 16}, 4, 2};
    case TreeKind::no_full_scale:
      return {{2, 1, {18, 20, 22}}, {12, 14, 16}, 2, 1};
    case TreeKind::validation:
      return {{2, 1, {12, 14, 16}}, {12, 14, 16}, 2, 2};
    default:
      return {{2, 1, {18, 20, 22}}, {12, 14, 16}, 2, 2};
  }
}

// `often` replaces the probabilities of the random transforms, where above 0.
inline pipeline::Node make_tree(TreeKind kind, double often = 0.0) {
  const Tree tree = tree_of(kind);
  const int dims = kind == TreeKind::plane_2d || kind == TreeKind::dummy_2d ? 2 : 3;
  std::vector<pipeline::Node> nodes;
  const auto leaf = [](const char* name, const Record& attributes) {
    return pipeline::Node::leaf(transforms::make_transform(name, attributes));
  };
  const auto add = [&](const char* name, const Record& attributes) { nodes.push_back(leaf(name, attributes)); };
  const auto sometimes = [&](double probability, const char* name, const Record& attributes) {
    nodes.push_back(pipeline::Node::random(leaf(name, attributes), often > 0 ? often : probability));
  };
  const auto scales = [&] {
    Rows rows = {{1, 1, 1}, {0.5, 0.5, 0.5}};
    if (kind == TreeKind::no_full_scale) rows.erase(rows.begin());
    if (kind == TreeKind::plane_2d) rows = {{1, 1}, {0.5, 0.5}};
    add("DownsampleSegForDSTransform", record({{"ds_scales", rows}}));
  };
  if (kind == TreeKind::validation) {
    add("RemoveLabelTransform",
        record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}}));
    scales();
    return pipeline::Node::compose(std::move(nodes));
  }

  const auto spatial = [&] {
    Numbers patch;
    for (int axis = 3 - dims; axis < 3; ++axis)
      patch.push_back(static_cast<double>(tree.shape[static_cast<std::size_t>(axis)]));
    const double angle = dims == 2 ? std::numbers::pi : std::numbers::pi / 6;
    const double often_or = often > 0 ? often : 0.2;
    add("SpatialTransform", spatial_attributes(patch, angle, often_or, often_or));
  };
  if (kind == TreeKind::dummy_2d) add("Convert3DTo2DTransform", record({}));
  if (kind != TreeKind::intensity_first) spatial();
  if (kind == TreeKind::dummy_2d) add("Convert2DTo3DTransform", record({}));

  const double each = often > 0 ? often : 0.5;
  sometimes(
      0.1, "GaussianNoiseTransform",
      record({{"noise_variance", Scalar::range(0, 0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", true}}));
  sometimes(0.2, "GaussianBlurTransform",
            record({{"blur_sigma", Scalar::range(0.5, 1.0)},
                    {"synchronize_channels", false},
                    {"synchronize_axes", false},
                    {"p_per_channel", each}}));
  sometimes(0.15, "MultiplicativeBrightnessTransform",
            record({{"multiplier_range", Scalar::contrast(0.75, 1.25)},
                    {"p_per_channel", 1.0},
                    {"synchronize_channels", false}}));
  sometimes(0.15, "ContrastTransform",
            record({{"contrast_range", Scalar::contrast(0.75, 1.25)},
                    {"preserve_range", true},
                    {"p_per_channel", 1.0},
                    {"synchronize_channels", false}}));
  sometimes(0.25, "SimulateLowResolutionTransform",
            record({{"scale", Scalar::range(0.5, 1.0)},
                    {"synchronize_channels", false},
                    {"synchronize_axes", true},
                    {"p_per_channel", each},
                    {"ignore_axes", std::monostate{}},
                    {"allowed_channels", std::monostate{}}}));
  for (const double inverted : {1.0, 0.0})
    sometimes(inverted > 0 ? 0.1 : 0.3, "GammaTransform",
              record({{"gamma", Scalar::contrast(0.7, 1.5)},
                      {"p_invert_image", inverted},
                      {"synchronize_channels", false},
                      {"p_per_channel", 1.0},
                      {"p_retain_stats", 1.0}}));
  if (kind == TreeKind::intensity_first) spatial();
  add("MirrorTransform",
      record({{"allowed_axes", dims == 2 && kind == TreeKind::plane_2d ? Numbers{0, 1} : Numbers{0, 1, 2}}}));
  add("RemoveLabelTransform",
      record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}}));
  if (kind == TreeKind::cascade) {
    add("MoveSegAsOneHotToDataTransform",
        record({{"source_channel_idx", 1.0}, {"all_labels", Numbers{1, 2}}, {"remove_channel_from_source", true}}));
    sometimes(0.4, "ApplyRandomBinaryOperatorTransform",
              record({{"channel_idx", Numbers{-2, -1}},
                      {"strel_size", Scalar::range(1, 8)},
                      {"p_per_label", 0.5},
                      {"operators", Numbers{0, 1, 2, 3}}}));
    sometimes(0.2, "RemoveRandomConnectedComponentFromOneHotEncodingTransform",
              record({{"channel_idx", Numbers{-2, -1}},
                      {"fill_with_other_class_p", 0.0},
                      {"dont_do_if_covers_more_than_x_percent", 0.15},
                      {"p_per_label", 0.5}}));
  }
  if (kind == TreeKind::regions)
    add("ConvertSegmentationToRegionsTransform",
        record({{"channel_in_seg", 0.0}, {"regions", Rows{{1, 2, 3}, {2, 3}, {3}}}}));
  scales();
  return pipeline::Node::compose(std::move(nodes));
}

}  // namespace fastnnunet::testing
