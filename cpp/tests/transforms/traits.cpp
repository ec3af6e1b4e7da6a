// What transforms say of themselves is true: passes over a plan take their word for it.
#include "fastnnunet/transforms/traits.h"

#include <map>

#include "fastnnunet/sample/moves/flips.h"
#include "transforms/examples.h"

namespace fastnnunet::transforms {
namespace {

using namespace testing;

using Leaves = std::vector<std::pair<std::string, Record>>;

// Every transform of the table; of most the same attributes as elsewhere.
Leaves leaves() {
  Leaves list = example_leaves();
  const auto add = [&](const char* name, std::initializer_list<std::pair<const char*, Record::Value>> attributes) {
    list.emplace_back(name, record(attributes));
  };
  add("MirrorTransform", {{"allowed_axes", Numbers{0, 1, 2}}});
  add("TransposeAxesTransform", {{"allowed_axes", Numbers{0, 1, 2}}});
  add("Rot90Transform", {{"num_axis_combinations", Scalar::constant(2)},
                         {"num_rot_per_combination", Numbers{1, 2, 3}},
                         {"allowed_axes", Numbers{0, 1, 2}}});
  add("GaussianNoiseTransform",
      {{"noise_variance", Scalar::constant(0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", false}});
  add("GaussianBlurTransform", {{"blur_sigma", Scalar::constant(0.7)},
                                {"synchronize_channels", false},
                                {"synchronize_axes", false},
                                {"p_per_channel", 1.0}});
  add("SimulateLowResolutionTransform", {{"scale", Scalar::range(0.4, 0.9)},
                                         {"synchronize_channels", false},
                                         {"synchronize_axes", false},
                                         {"p_per_channel", 1.0},
                                         {"ignore_axes", std::monostate{}},
                                         {"allowed_channels", std::monostate{}}});
  add("MultiplicativeBrightnessTransform",
      {{"multiplier_range", Scalar::range(0.7, 1.3)}, {"p_per_channel", 0.7}, {"synchronize_channels", false}});
  for (const bool preserve_range : {false, true})
    add("ContrastTransform", {{"contrast_range", Scalar::range(0.7, 1.3)},
                              {"preserve_range", preserve_range},
                              {"p_per_channel", 0.7},
                              {"synchronize_channels", false}});
  for (const double retain_stats : {0.0, 1.0})
    add("GammaTransform", {{"gamma", Scalar::range(0.7, 1.5)},
                           {"p_invert_image", 0.5},
                           {"synchronize_channels", false},
                           {"p_per_channel", 0.7},
                           {"p_retain_stats", retain_stats}});
  add("RemoveLabelTransform", {{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", std::monostate{}}});
  add("ConvertSegmentationToRegionsTransform", {{"channel_in_seg", 0.0}, {"regions", Rows{{1, 2, 3}, {2}}}});
  add("DownsampleSegForDSTransform", {{"ds_scales", Rows{{1}, {0.5}}}});
  add("MoveSegAsOneHotToDataTransform",
      {{"source_channel_idx", 1.0}, {"all_labels", Numbers{1, 2}}, {"remove_channel_from_source", true}});
  add("ApplyRandomBinaryOperatorTransform", {{"channel_idx", Numbers{0, 1}},
                                             {"strel_size", Scalar::range(1, 4)},
                                             {"p_per_label", 1.0},
                                             {"operators", Numbers{0, 1, 2, 3}}});
  add("RemoveRandomConnectedComponentFromOneHotEncodingTransform", {{"channel_idx", Numbers{0, 1}},
                                                                    {"fill_with_other_class_p", 0.5},
                                                                    {"dont_do_if_covers_more_than_x_percent", 1.0},
                                                                    {"p_per_label", 1.0}});
  add("Convert3DTo2DTransform", {});
  add("Convert2DTo3DTransform", {});
  return list;
}

struct Drawn {
  std::unique_ptr<Transform> transform;
  std::unique_ptr<Parameters> parameters;
  random::Stream field{SampleId{}, 2};
};

// Three samples of each transform, of those in which it acts: body(drawn, data).
template <typename Body>
void for_each_drawn(const Body& body) {
  const Data data = data_of(2, {20, 20, 20}, 2);
  std::map<std::string, int> acted;
  for (const auto& [name, attributes] : leaves()) {
    acted[name] += 0;
    if (name == "Convert2DTo3DTransform") continue;  // of a folded sample only
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      CAPTURE(name, seed);
      Drawn drawn{make_transform(name, attributes), nullptr};
      drawn.parameters = drawn.transform->new_parameters();
      random::Stream stream(SampleId{.seed = seed}, 1);
      drawn.transform->draw(stream, geometry_of(data), *drawn.parameters);
      if (!drawn.transform->acts(*drawn.parameters)) continue;
      ++acted[name];
      body(drawn, data);
    }
  }
  for (const auto& entry : transform_table()) {
    const std::string name(entry.name);
    CAPTURE(name);
    CHECK((acted[name] > 0 || name == "Convert2DTo3DTransform"));
  }
}

template <typename T>
std::vector<T> moved(const std::vector<T>& values, const Index3& shape, const sample::AxisPermutation& move) {
  std::vector<T> out(values.size());
  const std::int64_t size = voxels(shape);
  for (std::int64_t c = 0; c * size < std::ssize(values); ++c)
    for (std::int64_t x = 0, to = c * size; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        for (std::int64_t z = 0; z < shape[2]; ++z, ++to) {
          const std::int64_t at[3] = {x, y, z};
          std::int64_t from[3];
          for (std::size_t axis = 0; axis < 3; ++axis)
            from[move.from[axis]] = sample::flipped(at[axis], shape[axis], move.reversed[axis]);
          out[static_cast<std::size_t>(to)] =
              values[static_cast<std::size_t>(c * size + (from[0] * shape[1] + from[1]) * shape[2] + from[2])];
        }
  return out;
}

Data applied(const Drawn& drawn, const Data& data, const sample::SampleMoves* moves = nullptr,
             sample::ChannelArithmetic* arithmetic = nullptr) {
  sample::Workspace workspace;
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
  sample.begin(image, &labels, 3, nullptr);
  drawn.transform->apply(sample, *drawn.parameters, Work(drawn.field, moves, arithmetic));
  if (arithmetic != nullptr)
    for (std::int64_t c = 0; c < sample.image().channels; ++c) Work::apply_to_channel(sample, c, arithmetic->take(c));
  return finished(sample);
}

const std::vector<sample::AxisPermutation> kMoves = {{.reversed = {true, false, false}},
                                                     {.reversed = {false, true, true}},
                                                     {.from = {1, 0, 2}},
                                                     {.from = {2, 0, 1}, .reversed = {false, true, false}},
                                                     {.from = {0, 2, 1}, .reversed = {true, false, true}}};

TEST_CASE("traits: an array that a transform does not change stays as it is", "[transforms]") {
  for_each_drawn([](const Drawn& drawn, const Data& data) {
    const Traits traits = drawn.transform->traits();
    const Data out = applied(drawn, data);
    if (traits.image.access != Traits::Access::writes) CHECK(out.image == data.image);
    if (traits.labels.access != Traits::Access::writes) CHECK(out.labels == data.labels);
  });
}

TEST_CASE("traits: what is indifferent to moves gives the same bits before and after them", "[transforms]") {
  for_each_drawn([](const Drawn& drawn, const Data& data) {
    const Traits traits = drawn.transform->traits();
    const Data out = applied(drawn, data);
    if (out.shape != data.shape || out.targets.size() != 1) return;
    for (const sample::AxisPermutation& move : kMoves) {
      // Of image and labels each by itself: the other one is not moved.
      if (traits.image.indifferent_to_moves) {
        Data turned = data;
        turned.image = moved(data.image, data.shape, move);
        CHECK(applied(drawn, turned).image == moved(out.image, data.shape, move));
        CHECK(applied(drawn, turned).labels == out.labels);
      }
      if (traits.labels.indifferent_to_moves) {
        Data turned = data;
        turned.labels = moved(data.labels, data.shape, move);
        CHECK(applied(drawn, turned).labels == moved(out.labels, data.shape, move));
        CHECK(applied(drawn, turned).image == out.image);
      }
    }
  });
}

TEST_CASE("traits: what permutes does the moves of its parameters, or those of the plan", "[transforms]") {
  for_each_drawn([](const Drawn& drawn, const Data& data) {
    if (!drawn.transform->traits().permutes) return;
    const sample::AxisPermutation own = drawn.transform->permutation(*drawn.parameters, 3);
    CHECK(own.changes());
    const Data out = applied(drawn, data);
    CHECK(out.image == moved(data.image, data.shape, own));
    CHECK(out.labels == moved(data.labels, data.shape, own));
    for (const sample::AxisPermutation& move : kMoves) {
      const sample::SampleMoves moves{move, kMoves.front()};
      const Data planned = applied(drawn, data, &moves);
      CHECK(planned.image == moved(data.image, data.shape, move));
      CHECK(planned.labels == moved(data.labels, data.shape, kMoves.front()));
    }
  });
}

TEST_CASE("moves: one after the other is one", "[sample]") {
  const Data data = data_of(1, {6, 6, 6});
  for (const sample::AxisPermutation& first : kMoves)
    for (const sample::AxisPermutation& second : kMoves)
      CHECK(moved(data.image, data.shape, first.then(second)) ==
            moved(moved(data.image, data.shape, first), data.shape, second));
}

TEST_CASE("traits: arithmetic is what the transform does, and what earlier steps left is done first", "[transforms]") {
  for_each_drawn([](const Drawn& drawn, const Data& data) {
    const Traits traits = drawn.transform->traits();
    const auto channels = drawn.transform->channels(*drawn.parameters);
    if (traits.is_arithmetic) {
      Data expected = data;
      for (std::size_t i = 0; i < channels.size(); ++i) {
        const sample::Linear linear = drawn.transform->arithmetic(*drawn.parameters, i);
        CHECK(linear.changes());
        sample::settle(linear, std::span(expected.image)
                                   .subspan(static_cast<std::size_t>(channels[i] * voxels(data.shape)),
                                            static_cast<std::size_t>(voxels(data.shape))));
      }
      CHECK(applied(drawn, data).image == expected.image);
    }
    if (!traits.takes_arithmetic) return;
    const sample::Linear before{-1.5f, 0.25f};
    sample::ChannelArithmetic left;
    Data done = data;
    for (const std::int64_t channel : channels) {
      left.add(channel, before);
      sample::settle(before, std::span(done.image)
                                 .subspan(static_cast<std::size_t>(channel * voxels(data.shape)),
                                          static_cast<std::size_t>(voxels(data.shape))));
    }
    const Data expected = applied(drawn, done), found = applied(drawn, data, nullptr, &left);
    float furthest = 0;
    for (std::size_t i = 0; i < found.image.size(); ++i)
      furthest = std::max(furthest, std::abs(found.image[i] - expected.image[i]));
    CHECK(furthest < 1e-4f);
    // All of it was taken: what there is now, the transform has left.
    sample::ChannelArithmetic again;
    for (const std::int64_t channel : channels) again.add(channel, before);
    sample::Workspace workspace;
    sample::Sample sample(workspace);
    sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
    sample.begin(image, nullptr, 3, nullptr);
    drawn.transform->apply(sample, *drawn.parameters, Work(drawn.field, nullptr, &again));
    for (const std::int64_t channel : channels) {
      const sample::Linear rest = again.take(channel);
      CHECK((traits.leaves_arithmetic ? rest != before : rest == sample::Linear{}));
    }
  });
}

void check_same(const Record& a, const Record& b) {
  REQUIRE(a.values().size() == b.values().size());
  for (const auto& [name, value] : a.values()) {
    CAPTURE(name);
    const Record::Value& other = b.values().at(name);
    REQUIRE(value.index() == other.index());
    if (const auto* flag = std::get_if<bool>(&value)) CHECK(*flag == std::get<bool>(other));
    if (const auto* number = std::get_if<double>(&value)) CHECK(*number == std::get<double>(other));
    if (const auto* numbers = std::get_if<Numbers>(&value)) CHECK(*numbers == std::get<Numbers>(other));
    if (const auto* rows = std::get_if<Rows>(&value)) CHECK(*rows == std::get<Rows>(other));
  }
}

TEST_CASE("parameters: those of the sample before leave no trace, drawn or restored", "[transforms]") {
  const Geometry geometry{3, 2, {20, 20, 20}};
  for (auto [name, attributes] : leaves()) {
    if (name == "Convert2DTo3DTransform") continue;  // of a folded sample only
    // So that some samples choose fewer channels than others, or none.
    for (const char* probability : {"p_per_channel", "p_per_label", "p_elastic_deform", "p_rotation", "p_shift"})
      if (attributes.has(probability)) attributes.set(probability, 0.5);
    const auto transform = make_transform(name, attributes);
    const auto used = transform->new_parameters(), restored = transform->new_parameters();
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      CAPTURE(name, seed);
      const Record fresh = drawn(*transform, geometry, seed);
      random::Stream stream(SampleId{.seed = seed}, 1);
      transform->draw(stream, geometry, *used);
      check_same(transform->describe(*used), fresh);
      transform->restore(fresh, geometry, *restored);
      check_same(transform->describe(*restored), fresh);
    }
  }
}

TEST_CASE("parameters: a replayed deformation does not stay for the next sample", "[transforms]") {
  const auto rigid = make_transform("SpatialTransform", spatial_attributes({6, 6, 6}, 1, 1, 1));
  const auto elastic = make_transform("SpatialTransform", deforming({6, 6, 6}, 1));
  const Geometry geometry{1, 1, {12, 12, 12}};
  Record replayed = placed_at({6, 6, 6});
  replayed.set("elastic_offsets",
               std::make_shared<const FloatArray>(FloatArray{{3, 6, 6, 6}, std::vector<float>(648, 1.0f)}));
  for (const auto* transform : {&rigid, &elastic}) {
    const auto p = (*transform)->new_parameters();
    (*transform)->restore(replayed, geometry, *p);
    REQUIRE((*transform)->describe(*p).has("elastic_offsets"));
    random::Stream stream(SampleId{.seed = 1}, 1);
    (*transform)->draw(stream, geometry, *p);
    check_same((*transform)->describe(*p), drawn(**transform, geometry, 1));
    (*transform)->restore(replayed, geometry, *p);
    const Record other = drawn(*elastic, geometry, 2);
    (*transform)->restore(other, geometry, *p);
    check_same((*transform)->describe(*p), other);
  }
}

}  // namespace
}  // namespace fastnnunet::transforms
