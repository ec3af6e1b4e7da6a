// Makes training batches from a folder of nnU-Net's preprocessed cases, with nnU-Net's transforms for 3D images, and
// prints their shapes, how many samples are made in a second, and a checksum. With the same seed and settings, they are
// the batches of the Python package, voxel by voxel.
#include <fastnnunet/engine/loader/loader.h>
#include <fastnnunet/pipeline/transform_tree.h>
#include <fastnnunet/storage/volume.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <numbers>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace fn = fastnnunet;

namespace {

struct Settings {
  std::string folder;
  fn::Index3 patch{};                // what the network gets
  fn::Index3 cut{};                  // what is cut out of the image, larger, since it is rotated and scaled
  std::vector<std::int64_t> labels;  // of the foreground
  std::int64_t batch_size = 2;
  int batches = 10;
  int threads = 2;
  std::uint64_t seed = 0;
};

constexpr const char* kUsage =
    "cpp_loader FOLDER --patch X Y Z --labels LABEL... [--cut X Y Z] [--batch-size 2] [--batches 10] [--threads 2] "
    "[--seed 0]";

Settings parse(const std::vector<std::string>& arguments) {
  Settings settings;
  std::size_t at = 0;
  const auto number = [&] {
    const std::string text = at < arguments.size() ? arguments[at] : "nothing";
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      throw std::invalid_argument("expected a whole number after " + arguments[at - 1] + ", got " + text);
    ++at;
    return value;
  };
  const auto shape = [&] { return fn::Index3{number(), number(), number()}; };
  while (at < arguments.size()) {
    const std::string& name = arguments[at++];
    if (name == "--patch") {
      settings.patch = shape();
    } else if (name == "--cut") {
      settings.cut = shape();
    } else if (name == "--labels") {
      while (at < arguments.size() && !arguments[at].starts_with("--")) settings.labels.push_back(number());
    } else if (name == "--batch-size") {
      settings.batch_size = number();
    } else if (name == "--batches") {
      settings.batches = static_cast<int>(number());
    } else if (name == "--threads") {
      settings.threads = static_cast<int>(number());
    } else if (name == "--seed") {
      settings.seed = static_cast<std::uint64_t>(number());
    } else if (name.starts_with("--") || !settings.folder.empty()) {
      throw std::invalid_argument("unknown argument " + name);
    } else {
      settings.folder = name;
    }
  }
  if (settings.folder.empty() || settings.patch[0] == 0 || settings.labels.empty())
    throw std::invalid_argument("expected a folder, --patch and --labels");
  if (settings.cut[0] == 0)
    for (std::size_t axis = 0; axis < 3; ++axis) settings.cut[axis] = settings.patch[axis] * 7 / 5;
  return settings;
}

fn::Record record(std::vector<std::pair<std::string, fn::Record::Value>> attributes) {
  fn::Record record;
  for (auto& [name, value] : attributes) record.set(name, std::move(value));
  return record;
}

// What nnU-Net's trainer builds for 3D images, with labels at full and at half resolution.
fn::TransformTree training_transforms(const fn::Index3& patch) {
  using fn::Scalar;
  using fn::TransformTree;
  using Numbers = fn::Record::Numbers;
  const auto sometimes = [](double probability, const char* name, const fn::Record& attributes) {
    return TransformTree::random(TransformTree::transform(name, attributes), probability);
  };
  const auto gamma = [&](double probability, double inverted) {
    return sometimes(probability, "GammaTransform",
                     record({{"gamma", Scalar::contrast(0.7, 1.5)},
                             {"p_invert_image", inverted},
                             {"synchronize_channels", false},
                             {"p_per_channel", 1.0},
                             {"p_retain_stats", 1.0}}));
  };
  const double angle = std::numbers::pi / 6;
  return TransformTree::compose(
      TransformTree::transform("SpatialTransform", record({{"patch_size", Numbers(patch.begin(), patch.end())},
                                                           {"patch_center_dist_from_border", Numbers{0, 0, 0}},
                                                           {"random_crop", false},
                                                           {"p_rotation", 0.2},
                                                           {"rotation", Scalar::range(-angle, angle)},
                                                           {"p_rot_per_axis", 1.0},
                                                           {"p_scaling", 0.2},
                                                           {"scaling", Scalar::range(0.7, 1.4)},
                                                           {"p_synchronize_scaling_across_axes", 1.0},
                                                           {"p_elastic_deform", 0.0},
                                                           {"elastic_deform_scale", Scalar::range(0.0, 0.2)},
                                                           {"elastic_deform_magnitude", Scalar::range(0.0, 0.2)},
                                                           {"p_synchronize_def_scale_across_axes", 0.0},
                                                           {"center_deformation", true},
                                                           {"align_corners", false},
                                                           {"mode_image", std::string("bilinear")},
                                                           {"mode_seg", std::string("bilinear")},
                                                           {"padding_mode_image", std::string("zeros")},
                                                           {"border_mode_seg", std::string("constant")},
                                                           {"padding_value_image", 0.0},
                                                           {"padding_value_seg", -1.0},
                                                           {"seg_tiebreak", std::string("nearest")}})),
      sometimes(
          0.1, "GaussianNoiseTransform",
          record({{"noise_variance", Scalar::range(0, 0.1)}, {"p_per_channel", 1.0}, {"synchronize_channels", true}})),
      sometimes(0.2, "GaussianBlurTransform",
                record({{"blur_sigma", Scalar::range(0.5, 1.0)},
                        {"synchronize_channels", false},
                        {"synchronize_axes", false},
                        {"p_per_channel", 0.5}})),
      sometimes(0.15, "MultiplicativeBrightnessTransform",
                record({{"multiplier_range", Scalar::contrast(0.75, 1.25)},
                        {"p_per_channel", 1.0},
                        {"synchronize_channels", false}})),
      sometimes(0.15, "ContrastTransform",
                record({{"contrast_range", Scalar::contrast(0.75, 1.25)},
                        {"preserve_range", true},
                        {"p_per_channel", 1.0},
                        {"synchronize_channels", false}})),
      sometimes(0.25, "SimulateLowResolutionTransform",
                record({{"scale", Scalar::range(0.5, 1.0)},
                        {"synchronize_channels", false},
                        {"synchronize_axes", true},
                        {"p_per_channel", 0.5},
                        {"ignore_axes", {}},
                        {"allowed_channels", {}}})),
      gamma(0.1, 1.0), gamma(0.3, 0.0),
      TransformTree::transform("MirrorTransform", record({{"allowed_axes", Numbers{0, 1, 2}}})),
      TransformTree::transform("RemoveLabelTransform",
                               record({{"label_value", -1.0}, {"set_to", 0.0}, {"segmentation_channels", {}}})),
      TransformTree::transform("DownsampleSegForDSTransform",
                               record({{"ds_scales", fn::Record::Rows{{1, 1, 1}, {0.5, 0.5, 0.5}}}})));
}

// Where the foreground is, for patches that must show some. nnU-Net's preprocessing keeps up to 10,000 random voxels of
// each class in a pickle; here they are looked up in the segmentation, at even distances.
fn::LocationReader locations_of(const std::vector<fn::CaseFiles>& cases, const std::vector<std::int64_t>& labels) {
  return [&](std::size_t number, const fn::Index3& shape) {
    constexpr std::size_t kMost = 10000;
    const auto volume = fn::open_volume(cases[number].segmentation, cases[number].segmentation_member);
    std::vector<std::int16_t> values(static_cast<std::size_t>(fn::voxels(shape)));
    volume->read(0, fn::Box::of_shape(shape), values.data(), 0);
    fn::ClassLocations locations(shape);
    for (const std::int64_t label : labels) {
      std::vector<std::int64_t> places;
      for (std::size_t i = 0; i < values.size(); ++i)
        if (values[i] == label) places.push_back(static_cast<std::int64_t>(i));
      const std::size_t step = (places.size() + kMost - 1) / kMost;
      std::vector<std::int64_t> voxels;  // (N, 3)
      for (std::size_t i = 0; i < places.size(); i += step)
        voxels.insert(voxels.end(),
                      {places[i] / (shape[1] * shape[2]), places[i] / shape[2] % shape[1], places[i] % shape[2]});
      locations.add({label}, false, false, voxels, 3);
    }
    return locations;
  };
}

// CRC-32, as in zlib.
class Checksum {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* byte = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; ++i) value_ = value_ >> 8 ^ kTable[(value_ ^ byte[i]) & 0xFF];
  }
  std::uint32_t value() const { return ~value_; }

 private:
  static constexpr std::array<std::uint32_t, 256> kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xEDB88320u : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t value_ = ~0u;
};

std::string text(std::int64_t samples, std::int64_t channels, const fn::Index3& shape) {
  std::string text = "(" + std::to_string(samples) + ", " + std::to_string(channels);
  for (const std::int64_t size : shape) text += ", " + std::to_string(size);
  return text + ")";
}

void run(const Settings& settings) {
  const std::vector<fn::CaseFiles> cases = fn::find_cases(settings.folder);
  std::cout << cases.size() << " cases in " << settings.folder << "\n";

  fn::LoaderOptions options;
  options.cases = cases;
  options.sampling.batch_size = settings.batch_size;
  options.sampling.patch_size = settings.cut;
  options.sampling.final_patch_size = settings.patch;
  options.seed = settings.seed;
  options.threads = settings.threads;
  options.memory_budget = std::size_t{1} << 30;
  fn::Loader loader(options, fn::compile(training_transforms(settings.patch)), locations_of(cases, settings.labels));

  const fn::Layout& layout = loader.layout();
  const auto bytes = [&](std::int64_t channels, const fn::Index3& shape, std::size_t element) {
    return static_cast<std::size_t>(settings.batch_size * channels * fn::voxels(shape)) * element;
  };
  std::cout << "data " << text(settings.batch_size, layout.image_channels, layout.image_shape) << " float32\n";
  for (const auto& target : layout.targets)
    std::cout << "target " << text(settings.batch_size, target.channels, target.shape) << " " << name_of(target.type)
              << "\n";

  Checksum checksum;
  std::chrono::steady_clock::duration waited{};
  for (int i = 0; i < settings.batches; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const fn::Batch batch = loader.next();  // its memory is written again when the last copy of it is gone
    waited += std::chrono::steady_clock::now() - begin;
    checksum.add(batch.memory->data, bytes(layout.image_channels, layout.image_shape, sizeof(float)));
    for (std::size_t number = 0; number < layout.targets.size(); ++number) {
      const auto& target = layout.targets[number];
      checksum.add(batch.memory->targets[number], bytes(target.channels, target.shape, element_bytes(target.type)));
    }
  }
  const double seconds = std::chrono::duration<double>(waited).count();
  std::cout << settings.batches << " batches, " << static_cast<double>(settings.batches * settings.batch_size) / seconds
            << " samples/s\n"
            << "checksum " << std::hex << std::setw(8) << std::setfill('0') << checksum.value() << "\n";
}

}  // namespace

int main(int count, char** arguments) {
  try {
    run(parse({arguments + 1, arguments + count}));
    return 0;
  } catch (const std::invalid_argument& error) {
    std::cerr << error.what() << "\nusage: " << kUsage << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
