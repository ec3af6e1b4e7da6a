#include "fastnnunet/transforms/plugin_transform.h"

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/pipeline/pipeline.h"
#include "fastnnunet/plugin/transform.h"
#include "transforms/samples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;
using Table = fastnnunet_plugin_transform;

const std::string kLong(3000, 'x');

// Adds two drawn numbers: to the image the first, to labels the second. Throws where it is told to.
class Shift final : public plugin::Transform {
 public:
  explicit Shift(std::string failing = "") : failing_(std::move(failing)) { ++living; }
  ~Shift() override { --living; }
  std::size_t parameter_count(const plugin::Geometry&) const override {
    fail("count");
    return 2;
  }
  void draw(plugin::Stream& stream, const plugin::Geometry& geometry, double* parameters) const override {
    fail("draw");
    CHECK(geometry.shape[2] == 6);
    parameters[0] = stream.uniform();
    parameters[1] = static_cast<double>(1 + stream.below(3));
  }
  bool acts(const double* parameters, std::size_t count) const override {
    fail("acts");
    CHECK(count == 2);
    return parameters[1] < 3;
  }
  void apply(const plugin::Voxels& voxels, const double* parameters, plugin::Stream& field) const override {
    fail("apply");
    const auto& [x, y, z] = voxels.geometry.shape;
    for (std::int64_t i = 0; i < voxels.geometry.image_channels * x * y * z; ++i)
      voxels.image[i] += static_cast<float>(parameters[0]);
    voxels.image[0] = static_cast<float>(field.normal());
    CHECK((voxels.segmentation == nullptr) == (voxels.geometry.segmentation_channels == 0));
    for (std::int64_t i = 0; i < voxels.geometry.segmentation_channels * x * y * z; ++i)
      voxels.segmentation[i] = static_cast<std::int16_t>(voxels.segmentation[i] + parameters[1]);
  }
  static inline int living = 0;

 private:
  void fail(const std::string& method) const {
    if (failing_ == method) throw std::runtime_error("no " + method);
    if (failing_ == method + ", at length") throw std::runtime_error(kLong);
    if (failing_ == method + ", no exception") throw 7;
  }
  std::string failing_;
};

std::shared_ptr<const Table> shift(const std::string& failing = "") {
  return {plugin::make_table(std::make_unique<Shift>(failing)), plugin::free_table};
}

Data run(const pipeline::Pipeline& pipeline, const Data& data, std::uint64_t step) {
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), 1, data.shape});
  sample.begin(image, data.labels.empty() ? nullptr : &labels, 3, nullptr);
  pipeline::Plan plan;
  pipeline.draw({.seed = 1, .step = step}, sample.geometry(), plan);
  pipeline.run(sample, plan);
  return finished(sample);
}

TEST_CASE("plug-in: a table of functions is a leaf like any other", "[transforms][plugin]") {
  const Data data = data_of(2, {4, 5, 6});
  const pipeline::Pipeline pipeline(pipeline::Node::leaf(make_plugin_transform("Shift", shift())));
  int untouched = 0;
  for (std::uint64_t step = 0; step < 20; ++step) {
    CAPTURE(step);
    const Data out = run(pipeline, data, step);
    CHECK(out.image == run(pipeline, data, step).image);
    pipeline::Plan plan;
    pipeline.draw({.seed = 1, .step = step}, {2, 1, data.shape}, plan);
    const Numbers drawn = pipeline.leaf(0).describe(*plan.steps()[0].parameters).numbers("parameters");
    REQUIRE(drawn.size() == 2);
    if (drawn[1] == 3) {  // of which acts() says that they change nothing
      CHECK(out.image == data.image);
      ++untouched;
      continue;
    }
    CHECK(out.image[1] == data.image[1] + static_cast<float>(drawn[0]));
    CHECK(out.image[0] != data.image[0] + static_cast<float>(drawn[0]));
    CHECK(out.labels[7] == data.labels[7] + static_cast<int>(drawn[1]));
  }
  CHECK(untouched > 2);
  CHECK(untouched < 12);
  Data unlabelled = data;
  unlabelled.labels.clear();
  CHECK(run(pipeline, unlabelled, 0).labels.empty());
}

// Notes what it is given.
class Sees final : public plugin::Transform {
 public:
  std::size_t parameter_count(const plugin::Geometry&) const override { return 0; }
  void draw(plugin::Stream&, const plugin::Geometry&, double*) const override {}
  void apply(const plugin::Voxels& voxels, const double*, plugin::Stream&) const override {
    labels = voxels.segmentation != nullptr;
    channels = voxels.geometry.segmentation_channels;
  }
  static inline bool labels = false;
  static inline std::int64_t channels = -1;
};

TEST_CASE("plug-in: it is given labels, and neither regions nor what they were made from", "[transforms][plugin]") {
  const Data data = data_of(1, {4, 5, 6});
  const auto seen_behind = [&](std::vector<pipeline::Node> nodes) {
    nodes.push_back(pipeline::Node::leaf(
        make_plugin_transform("Sees", {plugin::make_table(std::make_unique<Sees>()), plugin::free_table})));
    const pipeline::Pipeline pipeline(pipeline::Node::compose(std::move(nodes)));
    sample::Workspace workspace;
    sample::Sample sample(workspace);
    sample::ArraySource<float> image({data.image.data(), 1, data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), 1, data.shape});
    sample.begin(image, &labels, 3, nullptr);
    pipeline::Plan plan;
    pipeline.draw({.seed = 1}, sample.geometry(), plan);
    pipeline.run(sample, plan);
    return std::pair(Sees::labels, Sees::channels);
  };
  CHECK(seen_behind({}) == std::pair(true, std::int64_t{1}));
  std::vector<pipeline::Node> regions;
  regions.push_back(pipeline::Node::leaf(make_transform(
      "ConvertSegmentationToRegionsTransform", record({{"channel_in_seg", 0.0}, {"regions", Rows{{1, 2, 3}, {2}}}}))));
  CHECK(seen_behind(std::move(regions)) == std::pair(false, std::int64_t{0}));
}

TEST_CASE("plug-in: what a method throws names the transform", "[transforms][plugin]") {
  const Data data = data_of(1, {4, 5, 6});
  for (const std::string method : {"count", "draw", "acts", "apply"}) {
    CAPTURE(method);
    const auto message = [&](const std::string& failing) {
      const pipeline::Pipeline pipeline(pipeline::Node::leaf(make_plugin_transform("Shift", shift(failing))));
      return message_of([&] { run(pipeline, data, 0); });
    };
    CHECK(message(method) == "[Shift] no " + method);
    CHECK(message(method + ", no exception") == "[Shift] an exception that is no std::exception");
    CHECK(message(method + ", at length") == "[Shift] " + kLong.substr(0, 1023));
  }
}

TEST_CASE("plug-in: the table lives as long as the pipeline", "[transforms][plugin]") {
  REQUIRE(Shift::living == 0);
  {
    const pipeline::Pipeline pipeline(pipeline::Node::leaf(make_plugin_transform("Shift", shift())));
    CHECK(Shift::living == 1);
  }
  CHECK(Shift::living == 0);
}

TEST_CASE("plug-in: a table of another version or without its functions is refused", "[transforms][plugin]") {
  const auto message = [](const auto& change) {
    const auto owner = shift();
    Table table = *owner;
    change(table);
    return message_of([&] { make_plugin_transform("Shift", {owner, &table}); });
  };
  CHECK(message([](Table&) {}) == "");
  CHECK(has(message([](Table& t) { t.version = 2; }), "[Shift] expected a plug-in of interface version 1, got one of"));
  CHECK(has(message([](Table& t) { t.size -= 1; }), "[Shift] expected a plug-in's table of at least"));
  CHECK(message([](Table& t) { t.size += 64; }) == "");  // a later header of the same version
  for (const auto& remove : {+[](Table& t) { t.parameter_count = nullptr; }, +[](Table& t) { t.draw = nullptr; },
                             +[](Table& t) { t.apply = nullptr; }})
    CHECK(has(message(remove), "[Shift] expected a plug-in with parameter_count, draw and apply, got null"));
  CHECK(message([](Table& t) { t.acts = nullptr; }) == "");
}

TEST_CASE("plug-in: a function may fail without a text, or with one that is no text", "[transforms][plugin]") {
  const Data data = data_of(1, {4, 5, 6});
  const auto message = [&](auto function) {
    const auto owner = shift();
    Table table = *owner;
    table.acts = nullptr;  // always acts
    table.apply = function;
    const pipeline::Pipeline pipeline(pipeline::Node::leaf(make_plugin_transform("Shift", {owner, &table})));
    return message_of([&] { run(pipeline, data, 0); });
  };
  CHECK(message([](void*, const fastnnunet_plugin_geometry*, const fastnnunet_plugin_voxels*, const double*,
                   std::size_t, const fastnnunet_plugin_random*, char*, std::size_t) { return 3; }) ==
        "[Shift] expected 0, got 3");
  CHECK(message([](void*, const fastnnunet_plugin_geometry*, const fastnnunet_plugin_voxels*, const double*,
                   std::size_t, const fastnnunet_plugin_random*, char* text, std::size_t capacity) {
          std::memset(text, 0xE4, capacity);  // not even its end
          return 1;
        }) == "[Shift] " + std::string(1023, '?'));
}

TEST_CASE("plug-in: parameters of a replay are as many as it asks for, and it is asked whether they act",
          "[transforms][plugin]") {
  const auto transform = make_plugin_transform("Shift", shift());
  const Geometry geometry{2, 1, {4, 5, 6}};
  const auto p = transform->new_parameters();
  for (const Numbers& wrong : {Numbers{}, Numbers{1}, Numbers{1, 2, 3}})
    CHECK(has(message_of([&] { transform->restore(record({{"parameters", wrong}}), geometry, *p); }),
              "[Shift] expected 2 'parameters', got " + std::to_string(wrong.size())));
  for (const double second : {1.0, 3.0, 2.0}) {
    transform->restore(record({{"parameters", Numbers{0.5, second}}}), geometry, *p);
    CHECK(transform->acts(*p) == (second < 3));
  }
}

TEST_CASE("plug-in: any answer but 0 says that the parameters act", "[transforms][plugin]") {
  const auto owner = shift();
  Table table = *owner;
  const auto acts = [&](auto function) {
    table.acts = function;
    const auto transform = make_plugin_transform("Shift", {owner, &table});
    const auto p = transform->new_parameters();
    transform->restore(record({{"parameters", Numbers{0.5, 1}}}), {2, 1, {4, 5, 6}}, *p);
    return transform->acts(*p);
  };
  CHECK(acts([](void*, const double*, std::size_t, int* out, char*, std::size_t) { return *out = -1, 0; }));
  CHECK(acts([](void*, const double*, std::size_t, int* out, char*, std::size_t) { return *out = 2, 0; }));
  CHECK_FALSE(acts([](void*, const double*, std::size_t, int* out, char*, std::size_t) { return *out = 0, 0; }));
}

}  // namespace
}  // namespace fastnnunet::transforms
