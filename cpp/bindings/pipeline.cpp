#include "fastnnunet/pipeline/pipeline.h"

#include <pybind11/stl.h>

#include <optional>

#include "bindings.h"
#include "fastnnunet/sample/array_source.h"

namespace fastnnunet::bindings {
namespace {

// A tree as nested tuples: ("compose", [nodes]), ("one_of", [nodes]), ("random", probability, node),
// ("native", name, attributes, object), ("plugin", name, capsule, object), ("python", name, object). The object of a
// native transform is the same one in Python, for samples that native code does not know; it may be None.
pipeline::Node to_node(const py::tuple& tree) {
  const auto kind = py::cast<std::string>(tree[0]);
  const auto children = [&] {
    std::vector<pipeline::Node> nodes;
    for (const py::handle child : py::cast<py::list>(tree[1])) nodes.push_back(to_node(py::cast<py::tuple>(child)));
    return nodes;
  };
  if (kind == "compose") return pipeline::Node::compose(children());
  if (kind == "one_of") return pipeline::Node::one_of(children());
  if (kind == "random") return pipeline::Node::random(to_node(py::cast<py::tuple>(tree[2])), py::cast<double>(tree[1]));
  const auto name = py::cast<std::string>(tree[1]);
  if (kind == "python")
    return pipeline::Node::leaf(make_python_transform(name, py::reinterpret_borrow<py::object>(tree[2])));
  const auto stand_in = [&]() -> std::unique_ptr<transforms::Transform> {
    if (tree.size() < 4 || tree[3].is_none()) return nullptr;
    return make_python_transform(name, py::reinterpret_borrow<py::object>(tree[3]));
  };
  if (kind == "native")
    return pipeline::Node::leaf(transforms::make_transform(name, to_record(py::cast<py::dict>(tree[2]), name)),
                                stand_in());
  if (kind == "plugin")
    return pipeline::Node::leaf(make_plugin_transform(name, py::reinterpret_borrow<py::object>(tree[2])), stand_in());
  throw InvalidArgument("pipeline", "a node 'compose', 'one_of', 'random', 'native', 'plugin' or 'python'", kind);
}

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using LabelArray = py::array_t<std::int16_t, py::array::c_style | py::array::forcecast>;

template <typename T>
sample::Array<const T> to_array(const py::array_t<T, py::array::c_style | py::array::forcecast>& array) {
  if (array.ndim() != 3 && array.ndim() != 4)
    throw InvalidArgument("pipeline", "an array of shape (C, X, Y, Z) or (C, Y, Z)",
                          std::to_string(array.ndim()) + " axes");
  Index3 shape{1, 1, 1};
  const auto dims = array.ndim() - 1;
  for (py::ssize_t axis = 0; axis < dims; ++axis)
    shape[static_cast<std::size_t>(axis + 3 - dims)] = array.shape(axis + 1);
  return {array.data(), array.shape(0), shape};
}

py::list to_trace(const pipeline::Pipeline& pipeline, const pipeline::Plan& plan) {
  py::list trace;
  for (const pipeline::Plan::Step& step : plan.steps())
    trace.append(py::make_tuple(step.leaf, to_dict(pipeline.leaf(step.leaf).describe(*step.parameters))));
  return trace;
}

std::vector<pipeline::TraceEntry> from_trace(const pipeline::Pipeline& pipeline, const py::list& list) {
  std::vector<pipeline::TraceEntry> trace;
  for (const py::handle item : list) {
    const auto entry = py::cast<py::tuple>(item);
    const auto leaf = py::cast<std::size_t>(entry[0]);
    const std::string owner = leaf < pipeline.leaves() ? std::string(pipeline.leaf(leaf).name()) : "replay";
    trace.push_back({leaf, to_record(py::cast<py::dict>(entry[1]), owner)});
  }
  return trace;
}

class BorrowedWorkspace {
 public:
  explicit BorrowedWorkspace(BoundPipeline& from) : from_(from) {
    const base::MutexLock lock(from_.mutex);
    // So that giving it back needs no memory.
    from_.idle.reserve(from_.idle.size() + from_.borrowed + 1);
    if (from_.idle.empty()) {
      workspace_ = std::make_unique<sample::Workspace>();
    } else {
      workspace_ = std::move(from_.idle.back());
      from_.idle.pop_back();
    }
    ++from_.borrowed;
  }
  ~BorrowedWorkspace() {
    const base::MutexLock lock(from_.mutex);
    --from_.borrowed;
    from_.idle.push_back(std::move(workspace_));
  }
  BorrowedWorkspace(const BorrowedWorkspace&) = delete;
  BorrowedWorkspace& operator=(const BorrowedWorkspace&) = delete;
  sample::Workspace& operator*() { return *workspace_; }

 private:
  BoundPipeline& from_;
  std::unique_ptr<sample::Workspace> workspace_;
};

// Arrays that a sample is finished in, where its layout is known beforehand; else what it is copied to afterwards.
struct Results {
  py::object image;
  py::list targets;
  sample::Destination destination;

  explicit Results(const Layout& layout) {
    const py::handle nobody;  // NumPy allocates
    image = image_array({nullptr, layout.image_channels, layout.image_shape}, layout.dims, nobody);
    destination.image = {static_cast<float*>(py::cast<py::array>(image).mutable_data()), layout.image_channels,
                         layout.image_shape};
    for (const auto& wanted : layout.targets) {
      sample::Target target{wanted.type, nullptr, wanted.channels, wanted.shape};
      const py::array array = target_array(target, layout.dims, nobody);
      target.data = const_cast<void*>(array.data());
      destination.targets.push_back(target);
      targets.append(array);
    }
    destination.owner = share(py::make_tuple(image, targets));
  }

  Results() = default;

  void copy(sample::Sample& sample) {
    const py::handle nobody;
    image = image_array(sample.image(), sample.dims(), nobody);
    for (const sample::Target& target : sample.targets()) targets.append(target_array(target, sample.dims(), nobody));
  }
};

// (image, targets, target_is_list, trace, regression target or None, entries): arrays of their own, the parameters that
// were applied, and what transforms in Python have added. Where the entries have 'segmentation', or `labels_lost`, the
// targets are not those of the sample.
py::tuple run(BoundPipeline& bound, const FloatArray& image, const std::optional<LabelArray>& segmentation,
              const SampleId& id, const std::optional<py::list>& recorded,
              const std::optional<FloatArray>& regression_target) {
  const pipeline::Pipeline& pipeline = *bound.pipeline;
  const int dims = static_cast<int>(image.ndim()) - 1;
  sample::ArraySource<float> image_source(to_array(image));
  std::optional<sample::ArraySource<std::int16_t>> labels;
  if (segmentation) labels.emplace(to_array(*segmentation));
  if (labels && labels->shape() != image_source.shape())
    throw InvalidArgument("pipeline", "a segmentation of the image's shape", "another");
  std::optional<sample::ArraySource<float>> regression;
  if (regression_target) regression.emplace(to_array(*regression_target));
  if (regression && regression->shape() != image_source.shape())
    throw InvalidArgument("pipeline", "a regression target of the image's shape", "another");
  BorrowedWorkspace workspace(bound);
  sample::Sample sample(*workspace);
  std::optional<BorrowedWorkspace> beside;
  std::optional<sample::Sample> target;
  if (regression) target.emplace(*beside.emplace(bound));
  pipeline::Plan plan;
  sample.begin(image_source, labels ? &*labels : nullptr, dims, nullptr);
  const Geometry geometry = sample.geometry();
  // A trace may be of a part of the tree.
  const auto layout = recorded ? std::nullopt : pipeline.layout(geometry, labels.has_value());
  Results results = layout ? Results(*layout) : Results();
  sample.begin(image_source, labels ? &*labels : nullptr, dims, layout ? &results.destination : nullptr);
  const auto trace = recorded ? from_trace(pipeline, *recorded) : std::vector<pipeline::TraceEntry>{};
  {
    const py::gil_scoped_release release;
    if (recorded)
      pipeline.restore(trace, id, geometry, plan);
    else
      pipeline.draw(id, geometry, plan);
    if (target) {
      target->begin(*regression, nullptr, dims, nullptr);
      sample.set_follower(&*target);
    }
    pipeline.run(sample, plan, false);
    sample.set_follower(nullptr);
  }
  if (!layout) results.copy(sample);
  py::object moved = py::none();
  if (target) moved = image_array(target->image(), target->dims(), py::handle());
  return py::make_tuple(results.image, results.targets, sample.target_is_list(), to_trace(pipeline, plan), moved,
                        entries_of(sample));
}

}  // namespace

void add_pipeline(py::module_& module) {
  py::class_<SampleId>(module, "SampleId", "Which sample of which run.")
      .def(py::init([](std::uint64_t seed, std::uint32_t rank, std::uint32_t role, std::uint64_t step,
                       std::uint32_t slot,
                       std::uint32_t attempt) { return SampleId{seed, rank, role, step, slot, attempt}; }),
           py::kw_only(), py::arg("seed") = 0, py::arg("rank") = 0, py::arg("role") = 0, py::arg("step") = 0,
           py::arg("slot") = 0, py::arg("attempt") = 0);

  py::class_<BoundPipeline>(module, "Pipeline", "A compiled tree of transforms.")
      .def(py::init([](const py::tuple& tree) {
             return std::make_unique<BoundPipeline>(std::make_shared<pipeline::Pipeline>(to_node(tree)));
           }),
           py::arg("tree"))
      .def("run", &run, py::arg("image"), py::arg("segmentation").none(true), py::arg("id"),
           py::arg("trace").none(true) = py::none(), py::arg("regression_target").none(true) = py::none())
      .def(
          "draw",
          [](const BoundPipeline& bound, std::int64_t image_channels, std::int64_t segmentation_channels,
             const std::vector<std::int64_t>& shape, const SampleId& id) {
            const pipeline::Pipeline& pipeline = *bound.pipeline;
            Geometry geometry;
            geometry.image_channels = image_channels;
            geometry.segmentation_channels = segmentation_channels;
            geometry.dims = static_cast<int>(shape.size());
            if (geometry.dims != 2 && geometry.dims != 3)
              throw InvalidArgument("pipeline", "a shape (X, Y, Z) or (Y, Z)", std::to_string(shape.size()) + " axes");
            geometry.shape = {1, 1, 1};
            std::copy(shape.begin(), shape.end(), geometry.shape.begin() + 3 - geometry.dims);
            pipeline::Plan plan;
            {
              const py::gil_scoped_release release;
              pipeline.draw(id, geometry, plan);
            }
            return to_trace(pipeline, plan);
          },
          py::arg("image_channels"), py::arg("segmentation_channels"), py::arg("shape"), py::arg("id"),
          "The parameters of one sample, without voxels: a list of (leaf, parameters).")
      .def_property_readonly("all_native", [](const BoundPipeline& bound) { return bound.pipeline->all_native(); })
      .def(
          "stood_in",
          [](const BoundPipeline& bound) {
            std::vector<std::size_t> leaves;
            for (std::size_t leaf = 0; leaf < bound.pipeline->leaves(); ++leaf)
              if (bound.pipeline->stood_in(leaf)) leaves.push_back(leaf);
            return leaves;
          },
          "Numbers of native leaves that have had to run in Python, for what transforms before them made of a sample.")
      .def("leaf_statistics", [](const BoundPipeline& bound) {
        const pipeline::Pipeline& pipeline = *bound.pipeline;
        std::vector<std::pair<std::uint64_t, double>> list;
        for (std::size_t leaf = 0; leaf < pipeline.leaves(); ++leaf) {
          const auto s = pipeline.statistics(leaf);
          list.emplace_back(s.count, s.total);
        }
        return list;
      });
}

}  // namespace fastnnunet::bindings
