// Samples in memory, and one transform applied to them with stated parameters.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/sample/array_source.h"
#include "fastnnunet/transforms/transform.h"
#include "message.h"

namespace fastnnunet::testing {

using Numbers = Record::Numbers;
using Rows = Record::Rows;

// An image (C, X, Y, Z) and its segmentation (S, X, Y, Z).
struct Data {
  Index3 shape{};
  std::vector<float> image;
  std::vector<std::int16_t> labels;
  std::vector<sample::Target> targets{};          // of a finished sample: shapes and types
  std::vector<std::vector<std::byte>> content{};  // of these

  std::int64_t channels() const { return std::ssize(image) / voxels(shape); }
  std::int64_t label_channels() const { return std::ssize(labels) / voxels(shape); }
  float at(std::int64_t c, std::int64_t x, std::int64_t y, std::int64_t z) const {
    return image[static_cast<std::size_t>(((c * shape[0] + x) * shape[1] + y) * shape[2] + z)];
  }
  std::int16_t label(std::int64_t c, std::int64_t x, std::int64_t y, std::int64_t z) const {
    return labels[static_cast<std::size_t>(((c * shape[0] + x) * shape[1] + y) * shape[2] + z)];
  }
  std::vector<float> channel(std::int64_t c) const {
    return {image.begin() + c * voxels(shape), image.begin() + (c + 1) * voxels(shape)};
  }
  template <typename T>
  std::vector<T> target(std::size_t number) const {
    const auto* data = reinterpret_cast<const T*>(content[number].data());
    return {data, data + content[number].size() / sizeof(T)};
  }
};

// Every voxel has a value of its own kind: normal noise, labels -1 to 3 in blocks.
inline Data data_of(std::int64_t channels, const Index3& shape, std::int64_t label_channels = 1,
                    std::uint64_t seed = 3) {
  Data data{shape, std::vector<float>(static_cast<std::size_t>(channels * voxels(shape)), 0.0f), {}};
  random::Stream(SampleId{.seed = seed}, 1).add_normal(data.image, 0, 1.0f);
  for (std::int64_t s = 0; s < label_channels; ++s)
    for (std::int64_t x = 0; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        for (std::int64_t z = 0; z < shape[2]; ++z)
          data.labels.push_back(static_cast<std::int16_t>((x / 3 + y / 2 + z / 4 + s) % 5 - 1));
  return data;
}

// What of a source was read.
template <typename T>
class CountingSource final : public sample::Source<T> {
 public:
  explicit CountingSource(const sample::Array<const T>& array) : source_(array) {}
  std::int64_t channels() const override { return source_.channels(); }
  const Index3& shape() const override { return source_.shape(); }
  void read(std::int64_t channel, const Box& box, T* out) override {
    voxels_read += voxels(box.shape());
    source_.read(channel, box, out);
  }
  std::int64_t voxels_read = 0;

 private:
  sample::ArraySource<T> source_;
};

inline Data finished(sample::Sample& sample) {
  sample.finish();
  const sample::Array<float>& image = sample.image();
  Data out{image.shape, {image.data, image.data + image.size()}, {}};
  if (!sample.has_segmentation()) return out;
  for (const sample::Target& target : sample.targets()) {
    const auto* bytes = static_cast<const std::byte*>(target.data);
    out.targets.push_back(target);
    out.content.emplace_back(bytes, bytes + target.bytes());
  }
  if (out.targets[0].type == TargetType::int16) out.labels = out.target<std::int16_t>(0);
  return out;
}

// `parameters` under batchgeneratorsv2's names.
inline Data apply_in(sample::Workspace& workspace, const transforms::Transform& transform, const Record& parameters,
                     const Data& data, int dims = 3, const random::Stream& field = random::Stream({}, 2)) {
  sample::Sample sample(workspace);
  sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
  sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
  sample.begin(image, data.labels.empty() ? nullptr : &labels, dims, nullptr);
  const auto restored = transform.new_parameters();
  transform.restore(parameters, sample.geometry(), *restored);
  transform.apply(sample, *restored, field);
  return finished(sample);
}

inline Data apply(const transforms::Transform& transform, const Record& parameters, const Data& data, int dims = 3,
                  const random::Stream& field = random::Stream({}, 2)) {
  sample::Workspace workspace;
  return apply_in(workspace, transform, parameters, data, dims, field);
}

inline Record record(std::initializer_list<std::pair<const char*, Record::Value>> entries, const char* owner = "test") {
  Record made{owner};
  for (const auto& [name, value] : entries) made.set(name, value);
  return made;
}

// Parameters as drawn for one sample.
inline Record drawn(const transforms::Transform& transform, const Geometry& geometry, std::uint64_t seed) {
  random::Stream stream(SampleId{.seed = seed}, 1);
  const auto parameters = transform.new_parameters();
  transform.draw(stream, geometry, *parameters);
  return transform.describe(*parameters);
}

inline Geometry geometry_of(const Data& data, int dims = 3) {
  return {data.channels(), data.label_channels(), data.shape, dims, 0};
}

// Drawn parameters, described and restored, must do what they did.
inline void check_replay(const transforms::Transform& transform, const Data& data, int dims = 3) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    CAPTURE(seed);
    sample::Workspace workspace;
    sample::Sample sample(workspace);
    sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
    sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
    sample.begin(image, &labels, dims, nullptr);
    const auto parameters = transform.new_parameters();
    random::Stream stream(SampleId{.seed = seed}, 1);
    transform.draw(stream, sample.geometry(), *parameters);
    if (transform.acts(*parameters)) transform.apply(sample, *parameters, random::Stream({}, 2));
    const Data first = finished(sample);
    const Data again = apply(transform, transform.describe(*parameters), data, dims);
    CHECK(first.image == again.image);
    CHECK(first.labels == again.labels);
  }
}

}  // namespace fastnnunet::testing
