#include "fastnnunet/pipeline/pipeline.h"

#include <pybind11/stl.h>

#include "bindings.h"
#include "fastnnunet/transforms/array_source.h"

namespace fastnnunet::bindings {
namespace {

// A tree as nested tuples: ("compose", [nodes]), ("one_of", [nodes]), ("random", probability, node),
// ("native", name, attributes), ("plugin", name, capsule), ("python", name, object).
Node to_node(const py::tuple& tree) {
  const auto kind = py::cast<std::string>(tree[0]);
  const auto children = [&] {
    std::vector<Node> nodes;
    for (const py::handle child : py::cast<py::list>(tree[1])) nodes.push_back(to_node(py::cast<py::tuple>(child)));
    return nodes;
  };
  if (kind == "compose") return Node::compose(children());
  if (kind == "one_of") return Node::one_of(children());
  if (kind == "random") return Node::random(to_node(py::cast<py::tuple>(tree[2])), py::cast<double>(tree[1]));
  const auto name = py::cast<std::string>(tree[1]);
  if (kind == "native") return Node::leaf(make_transform(name, to_record(py::cast<py::dict>(tree[2]), name)));
  if (kind == "python") return Node::leaf(make_python_transform(name, py::reinterpret_borrow<py::object>(tree[2])));
  if (kind == "plugin") return Node::leaf(make_plugin_transform(name, py::reinterpret_borrow<py::object>(tree[2])));
  throw InvalidArgument("pipeline", "a node 'compose', 'one_of', 'random', 'native', 'plugin' or 'python'", kind);
}

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using LabelArray = py::array_t<std::int16_t, py::array::c_style | py::array::forcecast>;

template <typename T>
Array<const T> to_array(const py::array_t<T, py::array::c_style | py::array::forcecast>& array) {
  if (array.ndim() != 3 && array.ndim() != 4)
    throw InvalidArgument("pipeline", "an array of shape (C, X, Y, Z) or (C, Y, Z)",
                          std::to_string(array.ndim()) + " axes");
  Index3 shape{1, 1, 1};
  const auto dims = array.ndim() - 1;
  for (py::ssize_t axis = 0; axis < dims; ++axis)
    shape[static_cast<std::size_t>(axis + 3 - dims)] = array.shape(axis + 1);
  return {array.data(), array.shape(0), shape};
}

py::list to_trace(const Pipeline& pipeline, const Plan& plan) {
  py::list trace;
  for (const Plan::Step& step : plan.steps())
    trace.append(py::make_tuple(step.leaf, to_dict(pipeline.leaf(step.leaf).describe(*step.parameters))));
  return trace;
}

std::vector<TraceEntry> from_trace(const Pipeline& pipeline, const py::list& list) {
  std::vector<TraceEntry> trace;
  for (const py::handle item : list) {
    const auto entry = py::cast<py::tuple>(item);
    const auto leaf = py::cast<std::size_t>(entry[0]);
    const std::string owner = leaf < pipeline.leaves() ? std::string(pipeline.leaf(leaf).name()) : "replay";
    trace.push_back({leaf, to_record(py::cast<py::dict>(entry[1]), owner)});
  }
  return trace;
}

// (image, targets, target_is_list, trace): arrays of their own, and the parameters that were applied.
py::tuple run(const Pipeline& pipeline, const FloatArray& image, const std::optional<LabelArray>& segmentation,
              const SampleId& id, const std::optional<py::list>& recorded) {
  const int dims = static_cast<int>(image.ndim()) - 1;
  ArraySource<float> image_source(to_array(image));
  std::optional<ArraySource<std::int16_t>> labels;
  if (segmentation) labels.emplace(to_array(*segmentation));
  if (labels && labels->shape() != image_source.shape())
    throw InvalidArgument("pipeline", "a segmentation of the image's shape", "another");
  Workspace workspace;
  Sample sample(workspace);
  Plan plan;
  sample.begin(image_source, labels ? &*labels : nullptr, dims, nullptr);
  if (recorded) {
    const auto trace = from_trace(pipeline, *recorded);
    const py::gil_scoped_release release;
    pipeline.restore(trace, id, sample.geometry(), plan);
    pipeline.run(sample, plan);
  } else {
    const py::gil_scoped_release release;
    pipeline.draw(id, sample.geometry(), plan);
    pipeline.run(sample, plan);
  }
  const py::handle copy;  // no owner: NumPy copies
  py::list targets;
  for (const Target& target : sample.targets()) targets.append(target_array(target, sample.dims(), copy));
  return py::make_tuple(image_array(sample.image(), sample.dims(), copy), targets, pipeline.gives_target_list(),
                        to_trace(pipeline, plan));
}

}  // namespace

void add_pipeline(py::module_& module) {
  py::class_<SampleId>(module, "SampleId", "Which sample of which run.")
      .def(py::init([](std::uint64_t seed, std::uint32_t rank, std::uint32_t role, std::uint64_t step,
                       std::uint32_t slot) { return SampleId{seed, rank, role, step, slot, 0}; }),
           py::kw_only(), py::arg("seed") = 0, py::arg("rank") = 0, py::arg("role") = 0, py::arg("step") = 0,
           py::arg("slot") = 0);

  py::class_<Pipeline, std::shared_ptr<Pipeline>>(module, "Pipeline", "A compiled tree of transforms.")
      .def(py::init([](const py::tuple& tree) { return std::make_shared<Pipeline>(to_node(tree)); }), py::arg("tree"))
      .def("run", &run, py::arg("image"), py::arg("segmentation").none(true), py::arg("id"),
           py::arg("trace").none(true) = py::none())
      .def(
          "draw",
          [](const Pipeline& pipeline, std::int64_t image_channels, std::int64_t segmentation_channels,
             const std::vector<std::int64_t>& shape, const SampleId& id) {
            Geometry geometry;
            geometry.image_channels = image_channels;
            geometry.segmentation_channels = segmentation_channels;
            geometry.dims = static_cast<int>(shape.size());
            if (geometry.dims != 2 && geometry.dims != 3)
              throw InvalidArgument("pipeline", "a shape (X, Y, Z) or (Y, Z)", std::to_string(shape.size()) + " axes");
            geometry.shape = {1, 1, 1};
            std::copy(shape.begin(), shape.end(), geometry.shape.begin() + 3 - geometry.dims);
            Plan plan;
            {
              const py::gil_scoped_release release;
              pipeline.draw(id, geometry, plan);
            }
            return to_trace(pipeline, plan);
          },
          py::arg("image_channels"), py::arg("segmentation_channels"), py::arg("shape"), py::arg("id"),
          "The parameters of one sample, without voxels: a list of (leaf, parameters).")
      .def_property_readonly("all_native", &Pipeline::all_native)
      .def("leaf_statistics", [](const Pipeline& pipeline) {
        std::vector<std::pair<std::uint64_t, double>> list;
        for (std::size_t leaf = 0; leaf < pipeline.leaves(); ++leaf) {
          const auto s = pipeline.statistics(leaf);
          list.emplace_back(s.applied, static_cast<double>(s.nanoseconds) * 1e-9);
        }
        return list;
      });
}

}  // namespace fastnnunet::bindings
