// What threads without a sample help with comes out as if its own thread had done it alone.
#include <thread>
#include <vector>

#include "engine/tasks.h"
#include "transforms/local/local_kernels.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

std::vector<std::unique_ptr<transforms::Transform>> transforms() {
  std::vector<std::unique_ptr<transforms::Transform>> made;
  const auto add = [&](const char* name, const Record& attributes) {
    made.push_back(transforms::make_transform(name, attributes));
  };
  add("GaussianBlurTransform", record({{"blur_sigma", Scalar::range(0.5, 1.0)},
                                       {"synchronize_channels", false},
                                       {"synchronize_axes", false},
                                       {"p_per_channel", 1.0}}));
  add("SimulateLowResolutionTransform", record({{"scale", Scalar::range(0.5, 1.0)},
                                                {"synchronize_channels", false},
                                                {"synchronize_axes", false},
                                                {"p_per_channel", 1.0},
                                                {"ignore_axes", std::monostate{}},
                                                {"allowed_channels", std::monostate{}}}));
  add("GaussianNoiseTransform",
      record({{"noise_variance", Scalar::range(0.05, 0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", false}}));
  add("GammaTransform", record({{"gamma", Scalar::contrast(0.7, 1.5)},
                                {"p_invert_image", 0.5},
                                {"synchronize_channels", false},
                                {"p_per_channel", 1.0},
                                {"p_retain_stats", 1.0}}));
  add("ContrastTransform", record({{"contrast_range", Scalar::contrast(0.75, 1.25)},
                                   {"preserve_range", true},
                                   {"p_per_channel", 1.0},
                                   {"synchronize_channels", false}}));
  add("MirrorTransform", record({{"allowed_axes", Numbers{0, 1, 2}}}));
  add("LocalGammaTransform", local_attributes("gamma", Scalar::range(0.3, 2)));
  add("LocalContrastTransform", local_attributes("new_contrast", Scalar::range(0.3, 2)));
  Record smoothing = local_attributes("smoothing_strength", Scalar::range(0.5, 1));
  smoothing.set("kernel_size", Scalar::range(0.5, 1.5));
  add("LocalSmoothingTransform", smoothing);
  Record gradient = local_attributes("max_strength", Scalar::range(1, 5));
  gradient.set("mean_centered", true);
  gradient.set("clip_intensities", false);
  add("BrightnessGradientAdditiveTransform", gradient);
  return made;
}

// What exchanges axes, which have to be as long.
std::vector<std::unique_ptr<transforms::Transform>> exchanging_transforms() {
  std::vector<std::unique_ptr<transforms::Transform>> made;
  for (const Numbers& axes : {Numbers{0, 1}, {0, 2}, {1, 2}, {0, 1, 2}}) {
    made.push_back(transforms::make_transform("TransposeAxesTransform", record({{"allowed_axes", axes}})));
    made.push_back(transforms::make_transform("Rot90Transform", record({{"num_axis_combinations", Scalar::constant(1)},
                                                                        {"num_rot_per_combination", Numbers{1, 3}},
                                                                        {"allowed_axes", axes}})));
  }
  return made;
}

void check_shared(const std::vector<std::unique_ptr<transforms::Transform>>& transforms, const Data& data) {
  const auto arena = Arena::shared(3, 8);
  for (const auto& transform : transforms) {
    CAPTURE(transform->name());
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const Record parameters = drawn(*transform, geometry_of(data), seed);
      const Data alone = apply(*transform, parameters, data);
      Data shared{};
      Countdown done(1);
      Tasks tasks(arena);
      tasks.enqueue([&](Arena::ThreadState& state) {
        // The last task's thread may not yet have told that it is through.
        while (state.workspace.idle() < 2) std::this_thread::yield();
        shared = apply_in(state.workspace, *transform, parameters, data);
        done.tick();
      });
      REQUIRE(done.wait());
      CHECK(shared.image == alone.image);
      CHECK(shared.labels == alone.labels);
    }
  }
}

TEST_CASE("shared loops: transforms do the same alone and with threads that help", "[engine]") {
  check_shared(transforms(), data_of(2, {33, 34, 70}));
  check_shared(exchanging_transforms(), data_of(2, {40, 40, 40}));
}

}  // namespace
}  // namespace fastnnunet::engine
