// Records to dictionaries and back, random scalars, and transforms that run in Python.
#include <pybind11/stl.h>

#include <atomic>

#include "bindings.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::bindings {

SharedObject share(py::object object) {
  return SharedObject(new py::object(std::move(object)), [](py::object* held) {
    // An interpreter that is gone has freed everything itself.
    if (!Py_IsInitialized()) return;
    const py::gil_scoped_acquire lock;
    delete held;
  });
}

py::tuple to_tuple(const Index3& shape, int dims) {
  if (dims == 2) return py::make_tuple(shape[1], shape[2]);
  return py::make_tuple(shape[0], shape[1], shape[2]);
}

namespace {

// Turns of Python that pixels or parameters had to wait for.
std::atomic<std::uint64_t> python_calls{0};

Record::Numbers to_numbers(const py::sequence& sequence) {
  Record::Numbers numbers;
  for (const py::handle item : sequence) numbers.push_back(py::cast<double>(item));
  return numbers;
}

std::shared_ptr<const FloatArray> to_floats(const py::array& array) {
  const auto floats = py::cast<py::array_t<float, py::array::c_style>>(array);
  return std::make_shared<const FloatArray>(
      FloatArray{{floats.shape(), floats.shape() + floats.ndim()}, {floats.data(), floats.data() + floats.size()}});
}

Record::Value to_value(const py::handle& value) {
  if (value.is_none()) return std::monostate{};
  if (py::isinstance<Scalar>(value)) return py::cast<Scalar>(value);
  if (py::isinstance<py::bool_>(value)) return py::cast<bool>(value);
  if (py::isinstance<py::str>(value)) return py::cast<std::string>(value);
  // A field; a list of arrays is rows of numbers.
  if (py::isinstance<py::array_t<float>>(value) && py::cast<py::array>(value).ndim() > 0)
    return to_floats(py::reinterpret_borrow<py::array>(value));
  if (!py::isinstance<py::sequence>(value)) return py::cast<double>(value);
  const auto sequence = py::reinterpret_borrow<py::sequence>(value);
  if (sequence.empty() || !py::isinstance<py::sequence>(sequence[0])) return to_numbers(sequence);
  Record::Rows rows;
  for (const py::handle row : sequence) rows.push_back(to_numbers(py::reinterpret_borrow<py::sequence>(row)));
  return rows;
}

Scalar scalar_of(const py::function& function) {
  const SharedObject held = share(function);
  return Scalar::callable([held](const ScalarQuestion& question, std::uint64_t seed) {
    const py::gil_scoped_acquire lock;
    ++python_calls;
    const Geometry& geometry = question.geometry;
    py::list shape;
    shape.append(geometry.image_channels);
    for (const py::handle size : to_tuple(geometry.shape, geometry.dims)) shape.append(size);
    if (question.deformation_scale)
      return py::cast<double>((*held)(py::tuple(shape), question.channel, question.axis, seed,
                                      py::arg("deformation_scale") = *question.deformation_scale));
    return py::cast<double>((*held)(py::tuple(shape), question.channel, question.axis, seed));
  });
}

struct PythonParameters : Parameters {
  std::uint64_t seed = 0;
  std::int64_t token = -1;  // of recorded parameters; none: Python draws its own
};

// Runs in Python: its lock is taken for the whole of apply(), one such transform at a time.
class PythonTransform final : public TransformOf<PythonParameters> {
 public:
  PythonTransform(std::string name, SharedObject object) : name_(std::move(name)), object_(std::move(object)) {}

  std::string_view name() const override { return name_; }
  bool native() const override { return false; }

 protected:
  void draw(Stream& stream, const Geometry&, PythonParameters& p) const override {
    p.seed = stream.seed_for_python();
    p.token = -1;
  }

  void apply(Sample& sample, const PythonParameters& p, const Stream&) const override {
    const Array<float> image = sample.image();
    const bool labelled = sample.has_segmentation();
    const Array<std::int16_t> labels = labelled ? sample.segmentation() : Array<std::int16_t>{};
    const py::gil_scoped_acquire lock;
    ++python_calls;
    // A transform may keep what it is shown, to mix it into another sample. Then the memory is its own from then on.
    const py::object segmentation =
        labelled ? py::object(target_array({TargetType::int16, labels.data, labels.channels, labels.shape},
                                           sample.dims(), leased(sample, labels.data)))
                 : py::none();
    const auto result = py::cast<py::tuple>(object_->attr("apply")(
        image_array(image, sample.dims(), leased(sample, image.data)), segmentation, p.seed, p.token));
    take_image(sample, py::reinterpret_borrow<py::object>(result[0]));
    if (labelled) take_targets(sample, py::cast<py::list>(result[1]), py::cast<bool>(result[2]));
  }

  Record describe(const PythonParameters& p) const override {
    Record record{name_};
    record.set("token", static_cast<double>(p.token));
    return record;
  }

  void restore(const Record& record, const Geometry&, PythonParameters& p) const override {
    p.token = record.integer("token");
    p.seed = 0;
  }

 private:
  static py::capsule leased(const Sample& sample, const void* data) {
    auto lease = std::make_unique<std::shared_ptr<void>>(sample.lease(data));
    return {lease.release(), [](void* held) { delete static_cast<std::shared_ptr<void>*>(held); }};
  }

  static Index3 shape_of(const py::array& array, int dims) {
    if (array.ndim() != dims + 1)
      throw InvalidArgument("Python transform", "an array of " + std::to_string(dims + 1) + " axes",
                            std::to_string(array.ndim()));
    Index3 shape{1, 1, 1};
    for (int axis = 0; axis < dims; ++axis) shape[axis + 3 - dims] = array.shape(axis + 1);
    return shape;
  }

  // float32, C-contiguous: the wrapper in Python sees to that.
  static void take_image(Sample& sample, const py::object& object) {
    auto array = py::cast<py::array_t<float, py::array::c_style>>(object);
    float* data = array.mutable_data();
    const std::int64_t channels = array.shape(0);
    const Index3 shape = shape_of(array, sample.dims());
    if (data != sample.image().data) sample.adopt(share(array));
    sample.set_image({data, channels, shape});
  }

  static void take_targets(Sample& sample, const py::list& arrays, bool is_list) {
    std::vector<Target> targets;
    for (const py::handle item : arrays) {
      const auto array = py::cast<py::array>(item);
      const bool boolean = array.dtype().kind() == 'b';
      const Index3 shape = shape_of(array, sample.dims());
      Target target{boolean ? TargetType::boolean : TargetType::int16, const_cast<void*>(array.data()), array.shape(0),
                    shape};
      if (target.data != sample.segmentation().data) sample.adopt(share(array));
      targets.push_back(target);
    }
    if (is_list) {
      sample.set_targets(targets);
    } else if (targets.front().type == TargetType::boolean) {
      sample.set_regions(targets.front());
    } else {
      sample.set_segmentation(
          {static_cast<std::int16_t*>(targets.front().data), targets.front().channels, targets.front().shape});
    }
  }

  std::string name_;
  SharedObject object_;
};

}  // namespace

py::array image_array(const Array<float>& image, int dims, const py::handle& owner) {
  std::vector<py::ssize_t> shape{image.channels};
  for (int axis = 3 - dims; axis < 3; ++axis) shape.push_back(image.shape[axis]);
  return py::array(py::dtype::of<float>(), shape, image.data, owner);
}

py::array target_array(const Target& target, int dims, const py::handle& owner) {
  std::vector<py::ssize_t> shape{target.channels};
  for (int axis = 3 - dims; axis < 3; ++axis) shape.push_back(target.shape[axis]);
  const py::dtype type = target.type == TargetType::int16 ? py::dtype::of<std::int16_t>() : py::dtype::of<bool>();
  return py::array(type, shape, target.data, owner);
}

Record to_record(const py::dict& values, const std::string& owner) {
  Record record{owner};
  for (const auto& [name, value] : values) {
    const auto key = py::cast<std::string>(name);
    try {
      record.set(key, to_value(value));
    } catch (const std::exception&) {
      throw InvalidType(owner, "'" + key + "' to be numbers", py::cast<std::string>(py::repr(value)));
    }
  }
  return record;
}

py::dict to_dict(const Record& record) {
  py::dict dict;
  for (const auto& [name, value] : record.values())
    dict[py::str(name)] = std::visit(
        [](const auto& held) -> py::object {
          if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::monostate>)
            return py::none();
          else if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::shared_ptr<const FloatArray>>)
            return py::array_t<float>(held->shape, held->values.data());
          else
            return py::cast(held);
        },
        value);
  return dict;
}

std::unique_ptr<Transform> make_python_transform(const std::string& name, py::object object) {
  return std::make_unique<PythonTransform>(name, share(std::move(object)));
}

void add_transforms(py::module_& module) {
  py::class_<Scalar>(module, "Scalar", "A number, a range or a callable to draw from.")
      .def_static("constant", &Scalar::constant, py::arg("value"))
      .def_static("range", &Scalar::range, py::arg("low"), py::arg("high"))
      .def_static("contrast", &Scalar::contrast, py::arg("low"), py::arg("high"))
      .def_static(
          "callable", &scalar_of, py::arg("function"),
          "`function(shape, channel, axis, seed)`, shape being (C, X, Y, Z) or (C, Y, Z); for the magnitude of an "
          "elastic deformation also `deformation_scale`.");
  module.def(
      "python_calls", [] { return python_calls.load(); },
      "How often the threads have called Python: transforms and callable scalars that are not native.");
  module.def("native_transforms", [] {
    std::vector<std::string> names;
    for (const TransformEntry& entry : transform_table()) names.emplace_back(entry.name);
    return names;
  });
}

}  // namespace fastnnunet::bindings
