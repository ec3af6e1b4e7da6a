#include "fastnnunet/transforms/plugin_transform.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/text.h"

namespace fastnnunet::transforms {
namespace {

using Table = fastnnunet_plugin_transform;

// What a table of this version has at least.
constexpr std::size_t kLeastSize = offsetof(Table, apply) + sizeof(Table::apply);

fastnnunet_plugin_geometry to_plugin(const Geometry& geometry, bool labelled) {
  return {sizeof(fastnnunet_plugin_geometry),
          geometry.image_channels,
          labelled ? geometry.segmentation_channels : 0,
          {geometry.shape[0], geometry.shape[1], geometry.shape[2]},
          geometry.dims};
}

fastnnunet_plugin_random to_plugin(random::Stream& stream) {
  return {sizeof(fastnnunet_plugin_random), &stream,
          [](void* state) { return static_cast<random::Stream*>(state)->uniform(); },
          [](void* state) { return static_cast<random::Stream*>(state)->normal(); },
          [](void* state, std::uint64_t count) { return static_cast<random::Stream*>(state)->below(count); }};
}

// Calls function(self, arguments..., message, capacity). What it reports is thrown.
template <typename Function, typename... Arguments>
void call(const Table& table, Function function, Arguments... arguments) {
  char message[1024] = "";
  const int code = function(table.self, arguments..., message, sizeof(message));
  if (code == 0) return;
  message[sizeof(message) - 1] = '\0';
  throw std::runtime_error(message[0] != '\0' ? base::printable(message) : "expected 0, got " + std::to_string(code));
}

struct PluginParameters : Parameters {
  std::vector<double> values;
  bool act = true;  // whether they change anything; asked once, where an error is one of drawing
};

class PluginTransform final : public TransformOf<PluginParameters> {
 public:
  PluginTransform(std::string name, std::shared_ptr<const Table> table)
      : name_(std::move(name)), table_(std::move(table)) {}

  std::string_view name() const override { return name_; }
  // Behind regions it is given the image alone, as the interface says.
  Traits traits() const override { return {.takes_regions = true}; }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, PluginParameters& p) const override {
    const auto seen = to_plugin(geometry, true);
    p.values.resize(parameter_count(seen));
    const auto random = to_plugin(stream);
    call(*table_, table_->draw, &random, &seen, p.values.data(), p.values.size());
    ask(p);
  }

  bool acts(const PluginParameters& p) const override { return p.act; }

  void apply(sample::Sample& sample, const PluginParameters& p, const Work& work) const override {
    const bool labelled = sample.has_segmentation() && sample.regions() == nullptr;
    fastnnunet_plugin_voxels voxels{sizeof(fastnnunet_plugin_voxels), sample.image().data, nullptr};
    if (labelled) voxels.segmentation = sample.segmentation().data;
    const auto geometry = to_plugin(sample.geometry(), labelled);
    random::Stream own = work.field();
    const auto random = to_plugin(own);
    call(*table_, table_->apply, &geometry, &voxels, p.values.data(), p.values.size(), &random);
  }

  Record describe(const PluginParameters& p) const override {
    Record record{name_};
    record.set("parameters", p.values);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, PluginParameters& p) const override {
    p.values = record.numbers("parameters");
    const std::size_t expected = parameter_count(to_plugin(geometry, true));
    if (p.values.size() != expected)
      throw InvalidArgument(name_, std::to_string(expected) + " 'parameters'", std::to_string(p.values.size()));
    ask(p);
  }

 private:
  void ask(PluginParameters& p) const {
    int acts = 1;
    if (table_->acts != nullptr) call(*table_, table_->acts, p.values.data(), p.values.size(), &acts);
    p.act = acts != 0;
  }

  std::size_t parameter_count(const fastnnunet_plugin_geometry& geometry) const {
    std::size_t count = 0;
    call(*table_, table_->parameter_count, &geometry, &count);
    return count;
  }

  std::string name_;
  std::shared_ptr<const Table> table_;
};

}  // namespace

std::unique_ptr<Transform> make_plugin_transform(std::string name, std::shared_ptr<const Table> table) {
  if (table->version != FASTNNUNET_PLUGIN_VERSION)
    throw InvalidArgument(
        name, "a plug-in of interface version " + std::to_string(FASTNNUNET_PLUGIN_VERSION),
        "one of version " + std::to_string(table->version) + ": build it again with this version's headers");
  if (table->size < kLeastSize)
    throw InvalidArgument(name, "a plug-in's table of at least " + std::to_string(kLeastSize) + " bytes",
                          std::to_string(table->size));
  if (table->parameter_count == nullptr || table->draw == nullptr || table->apply == nullptr)
    throw InvalidArgument(name, "a plug-in with parameter_count, draw and apply", "null for one of them");
  return std::make_unique<PluginTransform>(std::move(name), std::move(table));
}

}  // namespace fastnnunet::transforms
