#include "fastnnunet/pipeline/transform_tree.h"

#include "pipeline/trees.h"

namespace fastnnunet::pipeline {
namespace {

using namespace testing;

TransformTree noise() {
  return TransformTree::transform(
      "BrightnessAdditiveTransform",
      record({{"mu", 1.0}, {"sigma", 0.5}, {"synchronize_channels", false}, {"p_per_channel", 1.0}}));
}

TransformTree mirror() {
  return TransformTree::transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 1}}}));
}

TEST_CASE("transform tree: draws what the tree of nodes draws", "[pipeline]") {
  std::vector<TransformTree> two;
  two.push_back(noise());
  two.push_back(mirror());
  const auto pipeline = compile(
      TransformTree::compose(TransformTree::random(noise(), 0.5), mirror(), TransformTree::one_of(std::move(two))));
  const auto brightness = [] {
    return Node::leaf(transforms::make_transform(
        "BrightnessAdditiveTransform",
        record({{"mu", 1.0}, {"sigma", 0.5}, {"synchronize_channels", false}, {"p_per_channel", 1.0}})));
  };
  const auto flip = [] {
    return Node::leaf(transforms::make_transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 1}}})));
  };
  std::vector<Node> either, all;
  either.push_back(brightness());
  either.push_back(flip());
  all.push_back(Node::random(brightness(), 0.5));
  all.push_back(flip());
  all.push_back(Node::one_of(std::move(either)));
  const Pipeline expected(Node::compose(std::move(all)));
  for (std::uint64_t step = 0; step < 50; ++step) {
    Plan a, b;
    pipeline->draw({.seed = 4, .step = step}, {2, 1, {4, 5, 6}}, a);
    expected.draw({.seed = 4, .step = step}, {2, 1, {4, 5, 6}}, b);
    REQUIRE(a.steps().size() == b.steps().size());
    for (std::size_t i = 0; i < a.steps().size(); ++i) {
      CHECK(a.steps()[i].leaf == b.steps()[i].leaf);
      const auto seen = [&](const Pipeline& of, const Plan& plan) {
        const Record drawn = of.leaf(plan.steps()[i].leaf).describe(*plan.steps()[i].parameters);
        std::vector<Numbers> numbers;
        for (const auto& [name, value] : drawn.values())
          if (const auto* list = std::get_if<Numbers>(&value)) numbers.push_back(*list);
        CHECK(!numbers.empty());
        return numbers;
      };
      CHECK(seen(*pipeline, a) == seen(expected, b));
    }
  }
}

TEST_CASE("transform tree: names what is wrong with a transform", "[pipeline]") {
  const Record nothing;
  CHECK(message_of([&] { TransformTree::transform("GammaTransfrom", nothing); }) ==
        "[pipeline] expected the name of a native transform, got GammaTransfrom");
  CHECK(has(message_of([&] { TransformTree::transform("MirrorTransform", nothing); }), "[MirrorTransform] expected"));
  CHECK(message_of([] { TransformTree::one_of({}); }) == "[OneOfTransform] expected at least one transform, got none");
  CHECK(transform_names().size() == transforms::transform_table().size());
}

}  // namespace
}  // namespace fastnnunet::pipeline
