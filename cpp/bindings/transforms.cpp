// Records to dictionaries and back, random scalars, and transforms that run in Python.
#include <pybind11/stl.h>

#include <atomic>
#include <cstring>

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

struct PythonParameters : transforms::Parameters {
  std::uint64_t seed = 0;
  std::int64_t token = -1;  // of recorded parameters; none: Python draws its own
};

// What transforms in Python have added to a sample: a dictionary without image and labels, but with labels that have a
// form of their own.
class Entries final : public sample::Companion {
 public:
  Entries(SharedObject made_by, SharedObject dictionary, bool labels, bool of_transforms, std::string labels_from)
      : made_by_(std::move(made_by)),
        dictionary_(std::move(dictionary)),
        labels_(labels),
        of_transforms_(of_transforms),
        labels_from_(std::move(labels_from)) {}

  bool holds_labels() const override { return labels_; }
  bool holds_entries_of_transforms() const override { return of_transforms_; }
  bool target_is_list() const override { return target_is_list_; }
  std::string labels_from() const override { return labels_from_; }
  const py::object& dictionary() const { return *dictionary_; }

  std::vector<sample::Target> targets() override {
    const py::gil_scoped_acquire lock;
    const auto made = py::cast<py::tuple>(made_by_->attr("targets")(*dictionary_));
    target_is_list_ = py::cast<bool>(made[1]);
    std::vector<sample::Target> targets;
    arrays_.clear();
    for (const py::handle item : py::cast<py::list>(made[0])) {
      const auto array = py::cast<py::array>(item);
      arrays_.push_back(share(array));
      targets.push_back(to_target(array));
    }
    return targets;
  }

 private:
  SharedObject made_by_;
  SharedObject dictionary_;
  bool labels_;
  bool of_transforms_;
  std::string labels_from_;
  bool target_is_list_ = false;
  std::vector<SharedObject> arrays_;
};

// Runs in Python: its lock is taken for the whole of apply(), and given back by what the transform calls.
class PythonTransform final : public transforms::TransformOf<PythonParameters> {
 public:
  PythonTransform(std::string name, SharedObject object)
      : name_(std::move(name)),
        object_(std::move(object)),
        sees_target_(py::cast<bool>(object_->attr("sees_target"))) {}

  std::string_view name() const override { return name_; }
  transforms::Traits traits() const override { return {.native = false}; }

 protected:
  void draw(random::Stream& stream, const Geometry&, PythonParameters& p) const override {
    p.seed = stream.seed_for_python();
    p.token = -1;
  }

  void apply(sample::Sample& sample, const PythonParameters& p, const transforms::Work&) const override {
    const sample::Array<float> image = sample.image();
    auto* before = dynamic_cast<Entries*>(sample.companion());
    const bool labelled = sample.has_segmentation() && (before == nullptr || !before->holds_labels());
    if (labelled && sample.targets().empty() && sample.regions() == nullptr) sample.segmentation();
    sample::Sample* target = sees_target_ ? sample.follower() : nullptr;
    if (target != nullptr) target->image();
    const py::gil_scoped_acquire lock;
    ++python_calls;
    const int dims = sample.dims();
    const py::object labels = labelled ? labels_of(sample) : py::object(py::none());
    const py::object entries = before != nullptr ? before->dictionary() : py::object(py::dict());
    // The planes of a folded sample, as batchgeneratorsv2's dictionary has them.
    const std::int64_t folded = sample.folded() ? image.channels / sample.planes() : 0;
    const std::int64_t folded_labels = sample.folded() ? sample.geometry().segmentation_channels / sample.planes() : 0;
    py::object regression = py::none();
    std::int64_t folded_target = 0;
    if (target != nullptr) {
      const sample::Array<float> array = target->image();
      regression = image_array(array, target->dims(), leased(*target, array.data));
      if (target->folded()) folded_target = array.channels / target->planes();
    }
    const auto result = py::cast<py::tuple>(
        object_->attr("apply")(image_array(image, dims, leased(sample, image.data)), labels, regression, entries,
                               py::make_tuple(folded, folded_labels, folded_target), p.seed, p.token));
    take_image(sample, py::cast<py::array>(result[0]), folded);
    if (target != nullptr) take_image(*target, py::cast<py::array>(result[6]), folded_target);
    take_labels(sample, result[1], labelled);
    if (labelled && sample.folded() && !py::cast<bool>(result[3]) &&
        sample.geometry().segmentation_channels != folded_labels * sample.planes())
      throw InvalidArgument("Python transform",
                            "labels of " + std::to_string(folded_labels) + " channels with the image's " +
                                std::to_string(sample.planes()) + " planes",
                            std::to_string(sample.geometry().segmentation_channels) + " channels and planes together");
    const auto more = py::cast<py::dict>(result[2]);
    // A sample that came without labels has lost none.
    const bool holds_labels = py::cast<bool>(result[3]) && (sample.has_segmentation() || more.contains("segmentation"));
    if (more.empty() && !holds_labels) {
      sample.accompany(nullptr);
      return;
    }
    // Labels keep the name of the transform that gave them their form.
    const bool as_before = !labelled && before != nullptr && !py::cast<bool>(result[5]);
    std::string labels_from = as_before ? before->labels_from() : name_;
    sample.accompany(std::make_shared<Entries>(object_, share(more), holds_labels, py::cast<bool>(result[4]),
                                               std::move(labels_from)));
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
  // A transform may keep what it is shown, to mix it into another sample. Then the memory is its own from then on.
  static py::object leased(const sample::Sample& sample, const void* data) {
    std::shared_ptr<void> lease = sample.lease(data);
    if (lease == nullptr) return py::none();  // only for NumPy to know that the memory is not its own
    auto held = std::make_unique<std::shared_ptr<void>>(std::move(lease));
    py::capsule capsule(held.get(), [](void* kept) { delete static_cast<std::shared_ptr<void>*>(kept); });
    (void)held.release();
    return capsule;
  }

  // One array of int16 or bool, or a list of them for deep supervision.
  static py::object labels_of(const sample::Sample& sample) {
    const auto array = [&](const sample::Target& target) {
      return target_array(target, sample.dims(), leased(sample, target.data));
    };
    if (!sample.targets().empty()) {
      py::list list;
      for (const sample::Target& target : sample.targets()) list.append(array(target));
      return list;
    }
    if (sample.regions() != nullptr) return array(*sample.regions());
    sample::Array<std::int16_t> labels = const_cast<sample::Sample&>(sample).segmentation();
    return array({TargetType::int16, labels.data, labels.channels, labels.shape});
  }

  // (C, X, Y, Z) or (C, Y, Z) float32, C-contiguous: the wrapper in Python sees to that.
  static void take_image(sample::Sample& sample, const py::array& array, std::int64_t folded) {
    if (!py::isinstance<py::array_t<float>>(array) || (array.flags() & py::array::c_style) == 0)
      throw InvalidType("Python transform", "an image of float32", py::cast<std::string>(py::str(array.dtype())));
    const sample::Target found = to_target(array);
    const int dims = static_cast<int>(array.ndim()) - 1;
    std::int64_t planes = 0;
    if (folded > 0 && dims == 2) {
      if (found.channels % folded != 0)
        throw InvalidArgument("Python transform", "a multiple of " + std::to_string(folded) + " channels",
                              std::to_string(found.channels));
      planes = found.channels / folded;
    }
    if (found.data == sample.image().data) {
      sample.set_image({static_cast<float*>(found.data), found.channels, found.shape});
    } else {
      // Into memory of the sample's: a transform may keep what it gives back, or give parts of what it was shown.
      const sample::Array<float> image = sample.new_image(found.channels, found.shape);
      {
        const py::gil_scoped_release release;
        std::memmove(image.data, found.data, static_cast<std::size_t>(image.size()) * sizeof(float));
      }
      sample.set_image(image);
    }
    sample.set_form(dims, planes);
  }

  // None where they stay as they are, or are among the entries; else (C, X, Y, Z) or (C, Y, Z) int16 or bool.
  static void take_labels(sample::Sample& sample, const py::object& object, bool labelled) {
    if (object.is_none()) return;
    const auto array = py::cast<py::array>(object);
    const sample::Target found = to_target(array);
    if ((array.flags() & py::array::c_style) == 0)
      throw InvalidType("Python transform", "labels that are C-contiguous", "others");
    if (found.type == TargetType::boolean) {
      if (labelled && sample.regions() != nullptr && sample.regions()->data == found.data) {
        sample.set_regions(found);
        return;
      }
      // In memory of the regions' own, which a new one may not overlap.
      const sample::Target regions = sample.other_regions(found.channels, found.shape);
      std::memmove(regions.data, found.data, regions.bytes());
      sample.set_regions(regions);
      return;
    }
    if (found.type != TargetType::int16) throw InvalidType("Python transform", "labels of int16", name_of(found.type));
    sample.set_regions({});
    if (labelled && sample.targets().empty() && sample.segmentation().data == found.data) {
      sample.set_segmentation({static_cast<std::int16_t*>(found.data), found.channels, found.shape});
      return;
    }
    const sample::Array<std::int16_t> labels = sample.new_segmentation(found.channels, found.shape);
    std::memmove(labels.data, found.data, static_cast<std::size_t>(labels.size()) * sizeof(std::int16_t));
    sample.set_segmentation(labels);
  }

  std::string name_;
  SharedObject object_;
  bool sees_target_;  // a regression target; it leaves others alone
};

}  // namespace

py::array image_array(const sample::Array<float>& image, int dims, const py::handle& owner) {
  std::vector<py::ssize_t> shape{image.channels};
  for (int axis = 3 - dims; axis < 3; ++axis) shape.push_back(image.shape[axis]);
  return py::array(py::dtype::of<float>(), shape, image.data, owner);
}

py::array target_array(const sample::Target& target, int dims, const py::handle& owner) {
  std::vector<py::ssize_t> shape{target.channels};
  for (int axis = 3 - dims; axis < 3; ++axis) shape.push_back(target.shape[axis]);
  return py::array(dtype_of(target.type), shape, target.data, owner);
}

py::dtype dtype_of(TargetType type) {
  switch (type) {
    case TargetType::boolean:
      return py::dtype::of<bool>();
    case TargetType::uint8:
      return py::dtype::of<std::uint8_t>();
    case TargetType::int8:
      return py::dtype::of<std::int8_t>();
    case TargetType::int16:
      return py::dtype::of<std::int16_t>();
    case TargetType::int32:
      return py::dtype::of<std::int32_t>();
    case TargetType::int64:
      return py::dtype::of<std::int64_t>();
    case TargetType::float16:
      return py::dtype("float16");
    case TargetType::bfloat16:
      return py::dtype::of<std::uint16_t>();  // NumPy has none: its bits
    case TargetType::float32:
      return py::dtype::of<float>();
    case TargetType::float64:
      return py::dtype::of<double>();
  }
  return py::dtype::of<std::int16_t>();
}

sample::Target to_target(const py::array& array) {
  constexpr TargetType kTypes[] = {TargetType::int16,   TargetType::boolean, TargetType::uint8,   TargetType::int8,
                                   TargetType::int32,   TargetType::int64,   TargetType::float16, TargetType::bfloat16,
                                   TargetType::float32, TargetType::float64};
  if (array.ndim() != 3 && array.ndim() != 4)
    throw InvalidArgument("Python transform", "an array of 3 or 4 axes", std::to_string(array.ndim()));
  sample::Target target{TargetType::int16, const_cast<void*>(array.data()), array.shape(0), {1, 1, 1}};
  const auto dims = array.ndim() - 1;
  for (py::ssize_t axis = 0; axis < dims; ++axis)
    target.shape[static_cast<std::size_t>(axis + 3 - dims)] = array.shape(axis + 1);
  for (const TargetType type : kTypes)
    if (array.dtype().equal(dtype_of(type))) {
      target.type = type;
      return target;
    }
  throw InvalidType("Python transform", "numbers that a target may have",
                    py::cast<std::string>(py::str(array.dtype())));
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

py::dict entries_of(const sample::Sample& sample) {
  const auto* entries = dynamic_cast<const Entries*>(sample.companion());
  return entries == nullptr ? py::dict() : py::cast<py::dict>(entries->dictionary());
}

std::unique_ptr<transforms::Transform> make_python_transform(const std::string& name, py::object object) {
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
    for (const transforms::TransformEntry& entry : transforms::transform_table()) names.emplace_back(entry.name);
    return names;
  });
}

}  // namespace fastnnunet::bindings
