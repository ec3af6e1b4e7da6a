// What the tests of the local transforms share.
#pragma once

#include <cmath>

#include "transforms/intensity.h"

namespace fastnnunet::testing {

inline Record local_attributes(const char* value, const Scalar& scalar, bool same = false, double probability = 1.0) {
  return record({{"scale", Scalar::range(2, 5)},
                 {"loc", Scalar::range(0, 1)},
                 {value, scalar},
                 {"same_for_all_channels", same},
                 {"p_per_channel", probability}});
}

// One kernel on one channel, in the middle of the image.
inline Record local_parameters(const char* values, double value, const Rows& locations = {{0.5, 0.5, 0.5}},
                               const Rows& scales = {{2, 3, 4}}) {
  return record(
      {{"apply_to_channel", Numbers{0}}, {values, Numbers{value}}, {"locations", locations}, {"scales", scales}});
}

// The kernel as a formula: the product of each axis' share of a Gaussian's mass, from 0 to 1 over the image.
inline std::vector<double> local_weights(const Index3& shape, const Numbers& location, const Numbers& scale) {
  const auto mass = [&](std::size_t axis, std::int64_t i) {
    const double centre = location[axis] * static_cast<double>(shape[axis]), root = std::sqrt(2.0) * scale[axis];
    const auto at = static_cast<double>(i);
    return (std::erf((at + 0.5 - centre) / root) - std::erf((at - 0.5 - centre) / root)) / 2;
  };
  std::vector<double> weights;
  for (std::int64_t x = 0; x < shape[0]; ++x)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t z = 0; z < shape[2]; ++z) weights.push_back(mass(0, x) * mass(1, y) * mass(2, z));
  const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
  const double minimum = *low, range = *high - *low;
  for (double& weight : weights) weight = (weight - minimum) / range;
  return weights;
}

// What every local transform does and refuses.
inline void check_local(const transforms::Transform& transform, const char* values) {
  const Data data = data_of(3, {6, 7, 8});
  check_replay(transform, data);
  check_replay(transform, data_of(2, {1, 7, 8}), 2);
  check_only_channel(data, apply(transform, local_parameters(values, 0.7), data), 0);

  // Kernels voxel by voxel survive a description.
  Record ready = record({{"apply_to_channel", Numbers{0, 2}},
                         {values, Numbers{0.5, 0.6}},
                         {"sigma", 1.0},
                         {"kernels", Rows{Numbers(336, 0.25)}}});
  const auto parameters = transform.new_parameters();
  transform.restore(ready, geometry_of(data), *parameters);
  const Record described = transform.describe(*parameters);
  CHECK(described.rows("kernels") == ready.rows("kernels"));
  CHECK(apply(transform, described, data).image == apply(transform, ready, data).image);

  const auto refused = [&](const Record& record) {
    Record whole(std::string(transform.name()));
    for (const auto& [name, value] : record.values()) whole.set(name, value);
    return message_of([&] { apply(transform, whole, data); });
  };
  const std::string axes = refused(local_parameters(values, 0.7, {{0.5, 0.5}}));
  CHECK(has(axes, std::string(transform.name())));
  CHECK(has(axes, "] expected 'locations' of 3 numbers"));
  CHECK(has(refused(local_parameters(values, 0.7, {{0.5, 0.5, 0.5}}, {})), "'scales' for each of 1 kernels"));
  ready.set("kernels", Rows{Numbers(335, 0.25)});
  CHECK(has(refused(ready), "'kernels' of 336 numbers"));
  CHECK_THROWS_AS(transforms::make_transform(transform.name(), record({{"scale", 1.0}})), InvalidType);
}

}  // namespace fastnnunet::testing
