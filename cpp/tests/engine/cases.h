// A small data set on disk and a loader on it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/engine/loader/loader.h"
#include "message.h"
#include "pipeline/trees.h"
#include "storage/files.h"

namespace fastnnunet::testing {

// Cases of two image channels and one of labels, every other one .b2nd and .npy, of shapes around the window.
class Cases {
 public:
  explicit Cases(int count) {
    for (int i = 0; i < count; ++i) {
      const std::int64_t x = 30 + 4 * i, y = 52 - 3 * i, z = 40 + i;
      auto image = ramp<float>({2, x, y, z});
      for (float& value : image.values) value = value * 0.01f + static_cast<float>(i);
      auto labels = ramp<std::int16_t>({1, x, y, z});
      for (std::int16_t& label : labels.values) label = static_cast<std::int16_t>(label / 30);
      const std::string name = "case_" + std::to_string(i);
      const char* ending = i % 2 == 0 ? ".npy" : ".b2nd";
      const auto image_path = folder_ / (name + ending), label_path = folder_ / (name + "_seg" + ending);
      if (i % 2 == 0) {
        write_file(image_path, npy_bytes(image, "<f4"));
        write_file(label_path, npy_bytes(labels, "<i2"));
      } else {
        write_b2nd(image_path, image, "<f4", {{1, 32, 32, 32}, {1, 8, 16, 16}});
        write_b2nd(label_path, labels, "<i2", {{1, 32, 32, 32}, {1, 8, 16, 16}});
      }
      files_.push_back({name, image_path, label_path, {}});
      shapes_.push_back({x, y, z});
    }
  }

  const std::vector<CaseFiles>& files() const { return files_; }
  const Index3& shape(std::size_t number) const { return shapes_[number]; }

  void truncate(std::size_t number) {
    const Bytes whole = read_file(files_[number].image);
    write_file(files_[number].image, whole.substr(0, whole.size() / 2));
  }
  // One voxel at (x, y, z) of an .npy case.
  void put(std::size_t number, const Index3& at, float value) {
    Bytes bytes = read_file(files_[number].image);
    const Index3& size = shapes_[number];
    const auto values = static_cast<std::size_t>(2 * voxels(size)) * sizeof(float);
    const auto offset = static_cast<std::size_t>((at[0] * size[1] + at[1]) * size[2] + at[2]) * sizeof(float);
    std::memcpy(bytes.data() + bytes.size() - values + offset, &value, sizeof(value));
    write_file(files_[number].image, bytes);
  }
  template <typename T>
  void replace_labels(std::size_t number, const std::vector<std::int64_t>& shape) {
    write_file(files_[number].segmentation, npy_bytes(ramp<T>(shape), sizeof(T) == 2 ? "<i2" : "|i1"));
  }

 private:
  TemporaryFolder folder_;
  std::vector<CaseFiles> files_;
  std::vector<Index3> shapes_;
};

inline ClassLocations some_locations(std::size_t number, const Index3& shape) {
  ClassLocations locations(shape);
  std::vector<std::int64_t> voxels;
  for (std::int64_t i = 0; i < 50; ++i)
    for (const std::int64_t value :
         {i % shape[0], (3 * i + static_cast<std::int64_t>(number)) % shape[1], (7 * i) % shape[2]})
      voxels.push_back(value);
  locations.add({1}, false, false, voxels, 3);
  locations.add({2}, false, false, {}, 3);
  return locations;
}

inline LoaderOptions options_for(const Cases& cases, int threads = 2, int prefetch = 3,
                                 TreeKind kind = TreeKind::full_3d) {
  LoaderOptions options;
  options.cases = cases.files();
  options.sampling.batch_size = 3;
  options.sampling.patch_size = tree_of(kind).geometry.shape;
  options.sampling.final_patch_size = tree_of(kind).shape;
  options.seed = 17;
  options.threads = threads;
  options.prefetch = prefetch;
  options.memory_budget = std::size_t{256} << 20;
  options.patience = std::chrono::seconds(0);
  return options;
}

inline std::unique_ptr<Loader> loader_of(
    const LoaderOptions& options, TreeKind kind = TreeKind::full_3d, LocationReader reader = some_locations,
    std::shared_ptr<MemoryProvider> provider = std::make_shared<OrdinaryMemory>()) {
  return std::make_unique<Loader>(options, std::make_shared<pipeline::Pipeline>(make_tree(kind)), std::move(reader),
                                  std::move(provider));
}

// All that a batch says.
struct Content {
  std::uint64_t step = 0;
  std::vector<std::size_t> cases;
  std::vector<float> image;
  std::vector<std::vector<std::byte>> targets;
  std::vector<float> regression;
  bool operator==(const Content&) const = default;
};

inline Content content_of(const Batch& batch, const Loader& loader) {
  const Layout& layout = loader.layout();
  const auto samples = loader.options().sampling.batch_size;
  Content content{batch.step, batch.cases(), {}, {}, {}};
  const float* data = batch.memory->data;
  content.image.assign(data, data + samples * layout.image_channels * voxels(layout.image_shape));
  for (std::size_t i = 0; i < layout.targets.size(); ++i) {
    const auto& target = layout.targets[i];
    const auto* bytes = static_cast<const std::byte*>(batch.memory->targets[i]);
    const std::size_t size = sample::Target{target.type, nullptr, target.channels, target.shape}.bytes();
    content.targets.emplace_back(bytes, bytes + size * static_cast<std::size_t>(samples));
  }
  if (const float* moved = batch.memory->regression)
    content.regression.assign(moved, moved + samples * layout.regression_channels * voxels(layout.regression_shape));
  return content;
}

inline Content next_of(Loader& loader) { return content_of(loader.next({}), loader); }

inline std::vector<Content> take(Loader& loader, int count) {
  std::vector<Content> contents;
  for (int i = 0; i < count; ++i) contents.push_back(next_of(loader));
  return contents;
}

// The SampleError that `action` throws.
template <typename Action>
SampleFailure failure_of(Action&& action) {
  try {
    action();
  } catch (const SampleError& error) {
    CHECK(has(error.what(), error.failure().case_name));
    CHECK(has(error.what(), error.failure().reason));
    return error.failure();
  }
  FAIL("no SampleError was thrown");
  return {};
}

// Memory that is counted, and may be said to be still in use by a device.
class CountedMemory final : public MemoryProvider {
 public:
  explicit CountedMemory(bool rewritable) : rewritable_(rewritable) {}
  void* allocate(std::size_t bytes) override {
    const std::lock_guard lock(mutex_);
    void* memory = ordinary_.allocate(bytes);
    living_[memory] = bytes;
    bytes_ += bytes;
    most_bytes_ = std::max(most_bytes_, bytes_);
    ++allocations_;
    return memory;
  }
  void release(void* memory, std::size_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    if (living_.erase(memory) != 1) ++errors_;
    bytes_ -= bytes;
    ordinary_.release(memory, bytes);
  }
  bool rewritable() const override { return rewritable_; }

  std::size_t living() const {
    const std::lock_guard lock(mutex_);
    return living_.size();
  }
  std::size_t allocations() const {
    const std::lock_guard lock(mutex_);
    return allocations_;
  }
  std::size_t most_bytes() const {
    const std::lock_guard lock(mutex_);
    return most_bytes_;
  }
  int errors() const {
    const std::lock_guard lock(mutex_);
    return errors_;
  }

 private:
  bool rewritable_;
  OrdinaryMemory ordinary_;
  mutable std::mutex mutex_;
  std::map<void*, std::size_t> living_;
  std::size_t bytes_ = 0, most_bytes_ = 0, allocations_ = 0;
  int errors_ = 0;
};

}  // namespace fastnnunet::testing
