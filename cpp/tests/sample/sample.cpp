#include "fastnnunet/sample/sample.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/sample/array_source.h"

namespace fastnnunet::sample {
namespace {

constexpr Index3 kShape{3, 4, 5};

struct Sources {
  std::vector<float> image_values = std::vector<float>(120);
  std::vector<std::int16_t> label_values = std::vector<std::int16_t>(60);
  ArraySource<float> image{{image_values.data(), 2, kShape}};
  ArraySource<std::int16_t> labels{{label_values.data(), 1, kShape}};
};

// Of a batch: an image, labels and regions.
struct Wanted {
  std::vector<float> image = std::vector<float>(120);
  std::vector<std::int16_t> labels = std::vector<std::int16_t>(60);
  std::vector<std::uint8_t> regions = std::vector<std::uint8_t>(60);
  Destination destination{
      {image.data(), 2, kShape},
      {},
      {{TargetType::int16, labels.data(), 1, kShape}, {TargetType::boolean, regions.data(), 1, kShape}},
      nullptr};
};

struct Added final : Companion {
  bool holds_labels() const override { return false; }
  bool holds_entries_of_transforms() const override { return false; }
  std::vector<Target> targets() override { return {}; }
  bool target_is_list() const override { return false; }
  std::string labels_from() const override { return ""; }
};

TEST_CASE("sample: it begins as if there had been none before", "[sample]") {
  Sources sources;
  Workspace workspace;
  Sample sample(workspace);
  sample.begin(sources.image, &sources.labels, 3, nullptr);
  const Geometry geometry = sample.geometry();
  const auto added = std::make_shared<Added>();
  // As where a transform between the two conversions has thrown.
  sample.fold_planes();
  sample.set_regions(sample.new_regions(2, kShape));
  sample.set_targets(std::vector<Target>{sample.new_target(0, TargetType::int16, 1, kShape)});
  sample.accompany(added);
  sample.begin(sources.image, &sources.labels, 3, nullptr);
  CHECK(sample.geometry() == geometry);
  CHECK_FALSE(sample.folded());
  CHECK(sample.regions() == nullptr);
  CHECK(sample.targets().empty());
  CHECK_FALSE(sample.target_is_list());
  CHECK(sample.companion() == nullptr);
  CHECK(added.use_count() == 1);
  // What others own is let go before the next one begins.
  sample.accompany(added);
  sample.let_go();
  CHECK(added.use_count() == 1);
}

TEST_CASE("sample: a new array never lies over the present one, and in the batch only where it has its form",
          "[sample]") {
  Sources sources;
  Wanted wanted;
  Workspace workspace;
  Sample sample(workspace);
  for (const Index3& shape : {kShape, Index3{5, 4, 3}, Index3{1, 12, 5}}) {
    sample.begin(sources.image, &sources.labels, 3, &wanted.destination);
    CHECK(sample.image().data == wanted.image.data());
    CHECK(sample.segmentation().data == wanted.labels.data());
    for (int i = 0; i < 4; ++i) {
      CAPTURE(shape[0], i);
      const Array<float> image = sample.new_image(2, shape);
      CHECK(image.data != sample.image().data);
      if (shape != kShape) CHECK(image.data != wanted.image.data());
      sample.set_image(image);
      const Array<std::int16_t> labels = sample.new_segmentation(1, shape);
      CHECK(labels.data != sample.segmentation().data);
      if (shape != kShape) CHECK(labels.data != wanted.labels.data());
      sample.set_segmentation(labels);
    }
  }
  // A target is not made over the labels that it is made from, nor where another type is wanted.
  sample.begin(sources.image, &sources.labels, 3, &wanted.destination);
  CHECK(sample.segmentation().data == wanted.labels.data());
  CHECK(sample.new_target(0, TargetType::int16, 1, kShape).data != wanted.labels.data());
  CHECK(sample.new_target(1, TargetType::int16, 1, kShape).data != wanted.regions.data());
  CHECK(sample.new_target(1, TargetType::boolean, 1, kShape).data == wanted.regions.data());
}

TEST_CASE("sample: all that its thread keeps is counted", "[sample]") {
  Sources sources;
  Workspace workspace;
  Sample sample(workspace);
  sample.begin(sources.image, &sources.labels, 3, nullptr);
  constexpr Index3 kLarge{30, 40, 50};
  std::size_t before = workspace.bytes();
  const auto grew_by = [&](std::size_t bytes) {
    const std::size_t after = workspace.bytes();
    const bool grew = after >= before + bytes;
    before = after;
    return grew;
  };
  sample.set_image(sample.new_image(1, kLarge));
  CHECK(grew_by(240000));
  sample.set_segmentation(sample.new_segmentation(1, kLarge));
  CHECK(grew_by(120000));
  sample.new_target(1, TargetType::int16, 1, kLarge);
  CHECK(grew_by(120000));
  sample.set_regions(sample.new_regions(2, kLarge));
  CHECK(grew_by(120000));
  const Target other = sample.other_regions(2, kLarge);
  CHECK(other.data != sample.regions()->data);
  CHECK(grew_by(120000));
  workspace.scratch<float>(5, 60000);
  CHECK(grew_by(240000));
}

}  // namespace
}  // namespace fastnnunet::sample
