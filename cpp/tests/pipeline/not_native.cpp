// What a pipeline does around transforms that are not native: these may change everything.
#include <algorithm>
#include <functional>

#include "fastnnunet/pipeline/pipeline.h"
#include "transforms/foreign.h"
#include "transforms/samples.h"

namespace fastnnunet::pipeline {
namespace {

using namespace testing;

class Extra final : public sample::Companion {
 public:
  Extra(bool labels, bool entries) : labels_(labels), entries_(entries) {}
  bool holds_labels() const override { return labels_; }
  bool holds_entries_of_transforms() const override { return entries_; }
  std::vector<sample::Target> targets() override { return {{TargetType::float32, values_.data(), 1, {4, 4, 4}}}; }
  bool target_is_list() const override { return false; }
  std::string labels_from() const override { return "Foreign"; }

 private:
  bool labels_, entries_;
  std::vector<float> values_ = std::vector<float>(64, 0.5f);
};

std::unique_ptr<transforms::Transform> gamma() {
  return transforms::make_transform("GammaTransform", record({{"gamma", Scalar::range(0.5, 2.0)},
                                                              {"p_invert_image", 0.0},
                                                              {"synchronize_channels", false},
                                                              {"p_per_channel", 1.0},
                                                              {"p_retain_stats", 0.0}}));
}

std::unique_ptr<transforms::Transform> foreign(Foreign::Body body) {
  return std::make_unique<Foreign>("Foreign", std::move(body));
}

std::unique_ptr<transforms::Transform> mirror() {
  return transforms::make_transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 1, 2}}}));
}

std::vector<Node> list(std::unique_ptr<transforms::Transform> first, std::unique_ptr<transforms::Transform> second,
                       std::unique_ptr<transforms::Transform> stand_in = nullptr) {
  std::vector<Node> nodes;
  nodes.push_back(Node::leaf(std::move(first)));
  nodes.push_back(Node::leaf(std::move(second), std::move(stand_in)));
  return nodes;
}

Data run(const Pipeline& pipeline, const Data& data, std::uint64_t seed = 1) {
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
  sample.begin(image, &labels, 3, nullptr);
  Plan plan;
  pipeline.draw({.seed = seed}, sample.geometry(), plan);
  pipeline.run(sample, plan);
  return finished(sample);
}

void keep_channels(sample::Sample& sample, std::int64_t channels) {
  sample::Array<float> image = sample.image();
  image.channels = channels;
  sample.set_image(image);
}

void double_channels(sample::Sample& sample) {
  const sample::Array<float> before = sample.image();
  const sample::Array<float> after = sample.new_image(2 * before.channels, before.shape);
  for (std::int64_t c = 0; c < after.channels; ++c) {
    const auto from = before.channel_span(c % before.channels);
    std::copy(from.begin(), from.end(), after.channel(c));
  }
  sample.set_image(after);
}

TEST_CASE("pipeline: what follows a transform that changes channels is drawn for the channels that there are",
          "[pipeline]") {
  const Data data = data_of(4, {4, 4, 4});
  const Pipeline fewer(Node::compose(list(foreign([](sample::Sample& sample) { keep_channels(sample, 1); }), gamma())));
  const Data one = run(fewer, data);
  CHECK(one.channels() == 1);
  CHECK(one.channel(0) != data.channel(0));

  const Pipeline more(Node::compose(list(foreign(double_channels), gamma())));
  const Data eight = run(more, data);
  REQUIRE(eight.channels() == 8);
  for (std::int64_t c = 0; c < 8; ++c) CHECK(eight.channel(c) != data.channel(c % 4));
  // Channels of equal voxels have parameters of their own.
  CHECK(eight.channel(0) != eight.channel(4));
  // As if the sample had come with the channels that it has by then.
  const Pipeline same(Node::compose(list(foreign([](sample::Sample&) {}), gamma())));
  CHECK(run(same, {data.shape, data.channel(0), data.labels}).image == one.image);
}

TEST_CASE("pipeline: a regression target goes along with its image to transforms that are not native", "[pipeline]") {
  const Data data = data_of(1, {4, 4, 4});
  int seen = 0;
  // It turns both around, where it finds them alike.
  const auto reverse_both = [&](sample::Sample& sample) {
    REQUIRE(sample.follower() != nullptr);
    const sample::Array<float> image = sample.image(), target = sample.follower()->image();
    CHECK(std::equal(image.data, image.data + image.size(), target.data));
    for (const sample::Array<float>& array : {image, target}) std::reverse(array.data, array.data + array.size());
    ++seen;
  };
  // Labels that only others know: the second mirror is done by who stands in for it.
  const auto hide_labels = [](sample::Sample& sample) { sample.accompany(std::make_shared<Extra>(true, false)); };
  std::vector<Node> nodes;
  nodes.push_back(Node::leaf(mirror()));
  nodes.push_back(Node::leaf(foreign(reverse_both)));
  nodes.push_back(Node::leaf(mirror()));
  nodes.push_back(Node::leaf(foreign(hide_labels)));
  nodes.push_back(Node::leaf(mirror(), foreign(reverse_both)));
  const Pipeline pipeline(Node::compose(std::move(nodes)));
  CHECK(pipeline.takes_followers_to_python());
  CHECK_FALSE(Pipeline(Node::leaf(mirror())).takes_followers_to_python());
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    sample::Workspace workspace, beside;
    sample::Sample sample(workspace), target(beside);
    sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
    sample::ArraySource<float> same({data.image.data(), data.channels(), data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
    sample.begin(image, &labels, 3, nullptr);
    target.begin(same, nullptr, 3, nullptr);
    sample.set_follower(&target);
    Plan plan;
    pipeline.draw({.seed = seed}, sample.geometry(), plan);
    pipeline.run(sample, plan);
    const sample::Array<float> moved = target.image();
    CHECK(std::equal(moved.data, moved.data + moved.size(), sample.image().data));
  }
  CHECK(seen == 10);
}

TEST_CASE("pipeline: labels that only others know keep native transforms off", "[pipeline]") {
  const Data data = data_of(1, {4, 4, 4});
  int stood_in = 0;
  const auto give = [](bool labels, bool entries) {
    return foreign([=](sample::Sample& sample) { sample.accompany(std::make_shared<Extra>(labels, entries)); });
  };
  for (const auto& [labels, entries] : {std::pair{true, false}, std::pair{false, true}}) {
    stood_in = 0;
    const Pipeline pipeline(
        Node::compose(list(give(labels, entries), mirror(), foreign([&](sample::Sample&) { ++stood_in; }))));
    const Data out = run(pipeline, data);
    CHECK(stood_in == 1);
    CHECK(pipeline.stood_in(1));
    CHECK_FALSE(pipeline.stood_in(0));
    REQUIRE(out.targets.size() == 1);
    CHECK(out.targets[0].type == (labels ? TargetType::float32 : TargetType::int16));
  }
  // A transform of the image alone goes on.
  const Pipeline image_only(
      Node::compose(list(give(true, true), gamma(), foreign([&](sample::Sample&) { ++stood_in; }))));
  CHECK(run(image_only, data).channel(0) != data.channel(0));
  CHECK(stood_in == 1);
  // Without anybody to stand in it is refused by its name.
  const Pipeline alone(Node::compose(list(give(true, false), mirror())));
  CHECK(message_of([&] { run(alone, data); }).starts_with("[MirrorTransform] [MirrorTransform] expected "));
}

TEST_CASE("pipeline: Python that stands in is shown an image with all arithmetic done", "[pipeline]") {
  const Data data = data_of(1, {4, 4, 4});
  const auto brightness = [] {
    return transforms::make_transform(
        "MultiplicativeBrightnessTransform",
        record({{"multiplier_range", Scalar::constant(3)}, {"p_per_channel", 1.0}, {"synchronize_channels", true}}));
  };
  const auto remove_label = [] {
    return transforms::make_transform(
        "RemoveLabelTransform",
        record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}}));
  };
  std::vector<float> expected = data.image;
  for (float& value : expected) value *= 3;
  // Of the two only one would look at the image itself, and a mirror that turns nothing around would not run.
  for (const bool of_labels : {true, false})
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      std::vector<float> shown;
      std::vector<Node> nodes;
      nodes.push_back(
          Node::leaf(foreign([](sample::Sample& sample) { sample.accompany(std::make_shared<Extra>(true, false)); })));
      nodes.push_back(Node::leaf(brightness()));
      nodes.push_back(Node::leaf(of_labels ? remove_label() : mirror(), foreign([&](sample::Sample& sample) {
                                   const sample::Array<float> image = sample.image();
                                   shown.assign(image.data, image.data + image.size());
                                 })));
      nodes.push_back(Node::leaf(gamma()));
      const Pipeline pipeline(Node::compose(std::move(nodes)));
      run(pipeline, data, seed);
      CHECK(shown == expected);
    }
}

TEST_CASE("pipeline: what does not fit the batch names the transform that made it so", "[pipeline]") {
  const Data data = data_of(2, {4, 4, 4});
  const Pipeline pipeline(
      Node::compose(list(foreign([](sample::Sample& sample) { keep_channels(sample, 1); }), gamma())));
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
  std::vector<float> wanted(2 * 64);
  std::vector<std::int16_t> target(64);
  sample::Destination destination{
      {wanted.data(), 2, {4, 4, 4}}, {}, {{TargetType::int16, target.data(), 1, {4, 4, 4}}}, nullptr};
  sample.begin(image, &labels, 3, &destination);
  Plan plan;
  pipeline.draw({}, sample.geometry(), plan);
  CHECK(message_of([&] { pipeline.run(sample, plan); }) ==
        "[Foreign] [pipeline] expected an image of (2, 4, 4, 4), got (1, 4, 4, 4)");
}

}  // namespace
}  // namespace fastnnunet::pipeline
