#include "fastnnunet/storage/memory_volume.h"

#include <functional>
#include <unordered_map>
#include <utility>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet::storage {
namespace {

struct Files {
  base::Mutex mutex;
  std::uint64_t count FASTNNUNET_GUARDED_BY(mutex) = 0;
  std::unordered_map<std::string, std::weak_ptr<const MemoryArray>> by_path FASTNNUNET_GUARDED_BY(mutex);
};

Files& files() {
  static Files& all = *new Files;  // arrays may go after everything else
  return all;
}

class MemoryVolume final : public Volume {
 public:
  MemoryVolume(const std::string& path, const std::shared_ptr<const MemoryArray>& array)
      : Volume(path, array->channels, array->shape), array_(array) {
    stamp_.index = content_ = std::hash<std::string>()(path);
  }

  void read(std::int64_t channel, const Box& box, float* out, float outside) override {
    read_as(channel, channel + 1, box, out, outside);
  }
  void read(std::int64_t channel, const Box& box, std::int16_t* out, std::int16_t outside) override {
    read_as(channel, channel + 1, box, out, outside);
  }
  void read_channels(const Box& box, float* out, float outside) override { read_as(0, channels(), box, out, outside); }
  void read_channels(const Box& box, std::int16_t* out, std::int16_t outside) override {
    read_as(0, channels(), box, out, outside);
  }
  void read_channels(const Box& box, float* corner, const Steps& steps) override { read_part(box, corner, steps); }
  void read_channels(const Box& box, std::int16_t* corner, const Steps& steps) override {
    read_part(box, corner, steps);
  }

  void check() override {}
  void check_once() override {}
  std::uint64_t content() override { return content_; }
  void take_content(std::uint64_t) override {}
  const platform::FileStamp& stamp() const override { return stamp_; }
  std::size_t memory() const override { return sizeof(*this); }
  std::uint64_t bytes_read() const override { return 0; }

 private:
  template <typename T>
  void read_as(std::int64_t first, std::int64_t last, const Box& box, T* out, T outside) {
    if (first < 0 || last > channels())
      throw InvalidArgument(file(), "a channel of 0 to " + std::to_string(channels() - 1), std::to_string(first));
    if (box.empty()) return;
    const Index3 extent = box.shape();
    const Box inner = box.intersect(Box::of_shape(shape()));
    if (!(inner == box))
      for (std::int64_t c = 0; c < last - first; ++c) base::fill_outside(box, inner, out + c * voxels(extent), outside);
    if (inner.empty()) return;
    copy(first, last, inner, out + base::offset_in(box, inner.lower),
         {voxels(extent), extent[1] * extent[2], extent[2]});
  }

  template <typename T>
  void read_part(const Box& box, T* corner, const Steps& steps) {
    if (box.empty() || !base::contains(Box::of_shape(shape()), box))
      throw InvalidArgument(file(), "a box inside the image", "another one");
    copy(0, channels(), box, corner, steps);
  }

  template <typename T>
  void copy(std::int64_t first, std::int64_t last, const Box& box, T* corner, const Steps& steps) const {
    const std::shared_ptr<const MemoryArray> array = array_.lock();
    if (array == nullptr) throw StorageError(file(), "expected an array in memory, got one whose loader is gone");
    const ConvertRow<T> convert = convert_row<T>(array->element);
    const auto& step = array->steps;
    const Index3 size = box.shape();
    for (std::int64_t c = first; c < last; ++c)
      for (std::int64_t x = 0; x < size[0]; ++x)
        for (std::int64_t y = 0; y < size[1]; ++y) {
          const std::int64_t from =
              c * step[0] + (box.lower[0] + x) * step[1] + (box.lower[1] + y) * step[2] + box.lower[2] * step[3];
          convert(array->data + from, static_cast<std::ptrdiff_t>(step[3]),
                  corner + (c - first) * steps.channel + x * steps.plane + y * steps.row, size[2]);
        }
  }

  std::weak_ptr<const MemoryArray> array_;
  platform::FileStamp stamp_;
  std::uint64_t content_;
};

}  // namespace

MemoryFile::MemoryFile(const std::string& name, MemoryArray array)
    : array_(std::make_shared<const MemoryArray>(std::move(array))) {
  const base::MutexLock lock(files().mutex);
  path_ = name + " (array " + std::to_string(++files().count) + ")";
  files().by_path.emplace(path_, array_);
}

MemoryFile::~MemoryFile() {
  const base::MutexLock lock(files().mutex);
  files().by_path.erase(path_);
}

std::unique_ptr<Volume> open_memory(const std::string& path) {
  std::shared_ptr<const MemoryArray> array;
  {
    const base::MutexLock lock(files().mutex);
    const auto found = files().by_path.find(path);
    if (found == files().by_path.end()) return nullptr;
    array = found->second.lock();
  }
  return array == nullptr ? nullptr : std::make_unique<MemoryVolume>(path, array);
}

}  // namespace fastnnunet::storage
