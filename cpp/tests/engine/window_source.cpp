#include "fastnnunet/engine/window_source.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/storage/cache/open_volumes.h"
#include "fastnnunet/storage/numpy/npy_volume.h"
#include "message.h"
#include "storage/files.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

// One open file.
struct OneFile final : SampleFiles {
  explicit OneFile(Volume& volume) : open(volume) {}
  Volume& volume(int) override { return open; }
  std::string name(int) const override { return open.file(); }
  bool wait(const StorageError&, Attempts&) override { return false; }
  Volume& open;
};

template <typename T>
void check_outside(const char* dtype, T outside) {
  const TemporaryFolder folder;
  const auto values = ramp<T>({1, 3, 4, 5});
  write_file(folder / "volume.npy", npy_bytes(values, dtype));
  storage::OpenVolumes files(3);
  Volume& volume = files.get(folder / "volume.npy", "");
  const VolumeFacts facts = volume.facts();
  OneFile opened(volume);
  sample::Activity activity;
  // From one voxel before the image to two behind it, from memory and from the file.
  const Box window{{-1, -1, -1}, {5, 6, 7}};
  storage::VolumeCache cache(1 << 20);
  for (storage::CachedVolume<T>* cached : {static_cast<storage::CachedVolume<T>*>(nullptr), cache.find<T>(0, volume)}) {
    CAPTURE(cached != nullptr);
    WindowSource<T> source("reading");
    source.open(opened, {0, &facts, cached}, {}, window, false, activity);
    CHECK(source.filling() == outside);
    CHECK(source.content() == Box{{1, 1, 1}, {4, 5, 6}});
    const Index3 shape = source.shape();
    std::vector<T> read(static_cast<std::size_t>(voxels(shape)), T{77});
    source.read(0, Box::of_shape(shape), read.data());
    std::size_t at = 0;
    for (std::int64_t x = -1; x < 5; ++x)
      for (std::int64_t y = -1; y < 6; ++y)
        for (std::int64_t z = -1; z < 7; ++z) {
          const bool inside = x >= 0 && x < 3 && y >= 0 && y < 4 && z >= 0 && z < 5;
          const T expected = inside ? values.values[static_cast<std::size_t>((x * 4 + y) * 5 + z)] : outside;
          REQUIRE(read[at++] == expected);
        }
  }
}

TEST_CASE("window source: outside of the image are zeros, and labels of -1", "[engine]") {
  check_outside<float>("<f4", 0.0f);
  check_outside<std::int16_t>("<i2", -1);
}

TEST_CASE("window source: a voxel that is not finite is told with its place in the image, kept in memory or not",
          "[engine]") {
  const Box window{{1, -2, 3}, {9, 10, 15}};
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()})
    for (const std::size_t budget : {0, 1 << 20}) {
      CAPTURE(value, budget);
      const TemporaryFolder folder;
      auto image = ramp<float>({2, 10, 12, 14});
      image.values[static_cast<std::size_t>(((10 + 4) * 12 + 7) * 14 + 9)] = value;
      write_b2nd(folder / "volume.b2nd", image, "<f4", {{1, 8, 8, 8}, {1, 4, 4, 4}});
      storage::OpenVolumes files(3);
      Volume& volume = files.get(folder / "volume.b2nd", "");
      const VolumeFacts facts = volume.facts();
      OneFile opened(volume);
      sample::Activity activity;
      activity.begin(&opened, 0, 0);
      activity.enter("a transform");
      storage::VolumeCache cache(budget);
      WindowSource<float> source("reading");
      source.open(opened, {0, &facts, cache.find<float>(0, volume)}, {}, window, true, activity);
      std::vector<float> read(static_cast<std::size_t>(voxels(source.shape())));
      const Box all = Box::of_shape(source.shape());
      source.read(0, all, read.data());
      const std::uint64_t blocks = cache.misses();
      CHECK(blocks > 0);
      const std::string message = message_of([&] { source.read(1, all, read.data()); });
      CHECK(has(message, "expected finite voxels, got "));
      CHECK(has(message, " in channel 1 at (4, 7, 9)"));
      const Box inside{{2, 5, 2}, {6, 11, 10}};  // (3, 3, 5) to (7, 9, 13) of the image
      if (budget > 0) CHECK(has(message_of([&] { source.view(1, inside); }), " in channel 1 at (4, 7, 9)"));
      // Blocks have all channels: each is counted once. What the thread does is again what it did before.
      CHECK(cache.misses() == blocks);
      activity.look([](const sample::Activity::Now& now) { CHECK(now.stage == "a transform"); });
    }
}

}  // namespace
}  // namespace fastnnunet::engine
