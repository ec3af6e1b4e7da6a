// A few leaves, and samples that go through them.
#pragma once

#include <utility>
#include <vector>

#include "fastnnunet/pipeline/pipeline.h"
#include "transforms/samples.h"

namespace fastnnunet::testing {

inline pipeline::Node brightness() {
  return pipeline::Node::leaf(transforms::make_transform(
      "MultiplicativeBrightnessTransform",
      record(
          {{"multiplier_range", Scalar::range(0.75, 1.25)}, {"p_per_channel", 1.0}, {"synchronize_channels", true}})));
}

inline pipeline::Node noise() {
  return pipeline::Node::leaf(transforms::make_transform(
      "GaussianNoiseTransform",
      record({{"noise_variance", Scalar::constant(0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", true}})));
}

inline pipeline::Node mirror() {
  return pipeline::Node::leaf(
      transforms::make_transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 1, 2}}})));
}

template <typename... Children>
std::vector<pipeline::Node> nodes(Children... children) {
  std::vector<pipeline::Node> made;
  (made.push_back(std::move(children)), ...);
  return made;
}

inline Data run(const pipeline::Pipeline& pipeline, pipeline::Plan& plan, const Data& data,
                sample::Workspace& workspace, const sample::Destination* destination = nullptr, int dims = 3) {
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
  sample.begin(image, &labels, dims, destination);
  pipeline.run(sample, plan);
  return finished(sample);
}

}  // namespace fastnnunet::testing
