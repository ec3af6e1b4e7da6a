// Transforms of other packages, in C++: behind the interface of fastnnunet/plugin/transform.h, as a leaf of a pipeline.
#include "bindings.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/plugin/transform.h"

namespace fastnnunet::bindings {
namespace {

class PluginStream final : public plugin::Stream {
 public:
  explicit PluginStream(fastnnunet::Stream& stream) : stream_(stream) {}
  double uniform() override { return stream_.uniform(); }
  double normal() override { return stream_.normal(); }
  std::uint64_t below(std::uint64_t count) override { return stream_.below(count); }

 private:
  fastnnunet::Stream& stream_;
};

plugin::Geometry to_plugin(const Geometry& geometry, bool labelled) {
  return {geometry.image_channels,
          labelled ? geometry.segmentation_channels : 0,
          {geometry.shape[0], geometry.shape[1], geometry.shape[2]},
          geometry.dims};
}

struct PluginParameters : Parameters {
  std::vector<double> values;
};

class PluginTransform final : public TransformOf<PluginParameters> {
 public:
  PluginTransform(std::string name, SharedObject capsule, const plugin::Transform& transform)
      : name_(std::move(name)), capsule_(std::move(capsule)), transform_(transform) {}

  std::string_view name() const override { return name_; }

 protected:
  void draw(fastnnunet::Stream& stream, const Geometry& geometry, PluginParameters& p) const override {
    const plugin::Geometry seen = to_plugin(geometry, true);
    p.values.resize(transform_.parameter_count(seen));
    PluginStream numbers(stream);
    transform_.draw(numbers, seen, p.values.data());
  }

  bool acts(const PluginParameters& p) const override { return transform_.acts(p.values.data(), p.values.size()); }

  void apply(Sample& sample, const PluginParameters& p, const Work& work) const override {
    const bool labelled = sample.has_segmentation() && sample.regions() == nullptr;
    plugin::Voxels voxels{};
    voxels.image = sample.image().data;
    if (labelled) voxels.segmentation = sample.segmentation().data;
    voxels.geometry = to_plugin(sample.geometry(), labelled);
    fastnnunet::Stream own = work.field();
    PluginStream numbers(own);
    transform_.apply(voxels, p.values.data(), numbers);
  }

  Record describe(const PluginParameters& p) const override {
    Record record{name_};
    record.set("parameters", p.values);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, PluginParameters& p) const override {
    p.values = record.numbers("parameters");
    const std::size_t expected = transform_.parameter_count(to_plugin(geometry, true));
    if (p.values.size() != expected)
      throw InvalidArgument(name_, std::to_string(expected) + " 'parameters'", std::to_string(p.values.size()));
  }

 private:
  std::string name_;
  SharedObject capsule_;  // owns the transform
  const plugin::Transform& transform_;
};

}  // namespace

std::unique_ptr<Transform> make_plugin_transform(const std::string& name, py::object object) {
  if (!PyCapsule_IsValid(object.ptr(), plugin::kCapsule))
    throw InvalidType(name, std::string("a capsule named '") + plugin::kCapsule + "'",
                      py::cast<std::string>(py::repr(object)));
  const auto* transform = static_cast<plugin::Transform*>(PyCapsule_GetPointer(object.ptr(), plugin::kCapsule));
  return std::make_unique<PluginTransform>(name, share(std::move(object)), *transform);
}

}  // namespace fastnnunet::bindings
