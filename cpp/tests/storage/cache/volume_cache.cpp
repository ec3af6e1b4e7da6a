#include "fastnnunet/storage/cache/volume_cache.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fastnnunet/storage/formats.h"
#include "sanitized.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

// Chunks are no multiples of blocks, and the image is none of chunks: 4 x 4 x 4 tiles.
const Compression kTiles{{1, 14, 12, 11}, {1, 8, 7, 6}};
constexpr std::uint64_t kTileCount = 4 * 4 * 4;

// Out of the cache, which must have a place for the file.
template <typename T>
std::vector<T> read_cached(CachedVolume<T>& cached, Volume& volume, std::int64_t channel, const Box& box) {
  std::vector<T> out(static_cast<std::size_t>(voxels(box.shape())) + 1, T{77});
  REQUIRE(cached.provide(volume, box.intersect(Box::of_shape(volume.shape()))));
  cached.copy(channel, box, out.data(), T{-1});
  CHECK(out.back() == T{77});  // nothing is written behind
  out.pop_back();
  return out;
}

template <typename T>
void check_same(const std::filesystem::path& path, std::int64_t channels) {
  VolumeCache cache(1 << 22);
  const auto plain = open_volume(path, "data"), volume = open_volume(path, "data");
  CachedVolume<T>* cached = cache.find<T>(3, *volume);
  REQUIRE(cached != nullptr);
  for (int round = 0; round < 2; ++round) {
    const std::uint64_t read = volume->bytes_read();
    for (const Box& box : boxes_for(volume->shape()))
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        std::vector<T> expected(static_cast<std::size_t>(voxels(box.shape())));
        plain->read(channel, box, expected.data(), T{-1});
        CHECK(read_cached(*cached, *volume, channel, box) == expected);
      }
    CHECK((volume->bytes_read() == read) == (round == 1));
  }
  CHECK(cache.memory() == static_cast<std::size_t>(channels * voxels(volume->shape())) * sizeof(T));
}

TEST_CASE("volume_cache: every box is the same as without, and is decompressed once") {
  TemporaryFolder folder;
  const auto images = ramp<float>({2, 25, 22, 19});
  write_b2nd(folder / "image.b2nd", images, "<f4", kTiles);
  check_same<float>(folder / "image.b2nd", 2);
  write_b2nd(folder / "together.b2nd", images, "<f4", {{2, 14, 12, 11}, {2, 8, 7, 6}});
  check_same<float>(folder / "together.b2nd", 2);
  // Of another type than it is wanted in.
  write_b2nd(folder / "labels.b2nd", ramp<std::int8_t>({1, 25, 22, 19}), "|i1", kTiles);
  check_same<std::int16_t>(folder / "labels.b2nd", 1);
  write_file(folder / "case.npz", zip_bytes({{"data.npy", npy_bytes(images, "<f4")}}, true, false));
  check_same<float>(folder / "case.npz", 2);
}

TEST_CASE("volume_cache: only the blocks that a box touches") {
  TemporaryFolder folder;
  write_b2nd(folder / "case.b2nd", ramp<float>({1, 25, 22, 19}), "<f4", kTiles);
  const auto volume = open_volume(folder / "case.b2nd", "");
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const std::size_t one = 8 * 7 * 6 * sizeof(float);
  cached.provide(*volume, {{0, 0, 0}, {8, 7, 6}});
  CHECK(cache.misses() == 1);
  CHECK(cache.memory() == one);
  cached.provide(*volume, {{7, 6, 5}, {8, 7, 6}});
  CHECK(cache.hits() == 1);
  cached.provide(*volume, {{7, 6, 5}, {9, 7, 6}});  // the next block along X is cut by its chunk: 6 voxels
  CHECK(cache.misses() == 2);
  CHECK(cache.memory() == one + 6 * 7 * 6 * sizeof(float));
  cached.provide(*volume, Box{});
  CHECK(cache.hits() + cache.misses() == 4);
}

TEST_CASE("volume_cache: the first that fit are kept, and the budget is") {
  TemporaryFolder folder;
  write_b2nd(folder / "case.b2nd", ramp<float>({1, 25, 22, 19}), "<f4", kTiles);
  const auto volume = open_volume(folder / "case.b2nd", "");
  const Box all = Box::of_shape(volume->shape());
  const std::size_t whole = static_cast<std::size_t>(voxels(volume->shape())) * sizeof(float);
  VolumeCache cache(2 * whole + 2 * kTileCount);
  for (int round = 0; round < 2; ++round)
    for (std::uint32_t file = 0; file < 4; ++file) {
      CachedVolume<float>& cached = *cache.find<float>(file, *volume);
      CHECK(cached.provide(*volume, all) == (file < 2));
      if (file >= 2) cached.missed(all);
    }
  CHECK(cache.memory() == 2 * whole);
  CHECK(cache.hits() == 2 * kTileCount);
  CHECK(cache.misses() == 6 * kTileCount);  // two files once, two files twice
  VolumeCache none(0);
  CHECK_FALSE(none.find<float>(0, *volume)->provide(*volume, all));
  CHECK(none.memory() == 0);
}

TEST_CASE("volume_cache: no place for what is not compressed, nor for another file of the same number") {
  TemporaryFolder folder;
  const auto image = ramp<float>({1, 25, 22, 19});
  write_file(folder / "case.npy", npy_bytes(image, "<f4"));
  VolumeCache cache(1 << 20);
  CHECK(cache.find<float>(0, *open_volume(folder / "case.npy", "")) == nullptr);
  write_b2nd(folder / "case.b2nd", image, "<f4", kTiles);
  write_b2nd(folder / "other.b2nd", ramp<float>({1, 25, 22, 18}), "<f4", kTiles);
  CHECK(cache.find<float>(0, *open_volume(folder / "case.b2nd", "")) != nullptr);
  CHECK(cache.find<float>(0, *open_volume(folder / "other.b2nd", "")) == nullptr);
}

TEST_CASE("volume_cache: threads that want the same blocks wait for each other") {
  TemporaryFolder folder;
  const auto image = ramp<float>({1, 25, 22, 19});
  write_b2nd(folder / "case.b2nd", image, "<f4", kTiles);
  for (int round = 0; round < 20; ++round) {
    VolumeCache cache(1 << 20);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([&, thread] {
        const auto volume = open_volume(folder / "case.b2nd", "");
        CachedVolume<float>& cached = *cache.find<float>(0, *volume);
        const Box boxes[] = {{{thread, 0, 0}, {20, 22, 19}}, Box::of_shape(volume->shape())};
        for (const Box& box : boxes) {
          cached.provide(*volume, box);
          for (std::int64_t x = box.lower[0]; x < box.upper[0]; ++x) {
            const float* plane = cached.at(0, {x, 0, 0});
            wrong += !std::equal(plane, plane + 22 * 19, image.values.data() + x * 22 * 19);
          }
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(cache.misses() == kTileCount);
  }
}

TEST_CASE("volume_cache: what cannot be read is an error each time, and leaves the rest") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  write_b2nd(path, ramp<float>({1, 25, 22, 19}), "<f4", {{1, 14, 22, 19}, {1, 14, 22, 19}});
  Bytes bytes = read_file(path);
  const auto good = open_volume(path, "");
  // The second chunk is the last thing before the index.
  const std::size_t damaged = bytes.size() * 8 / 10;
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(damaged),
            bytes.begin() + static_cast<std::ptrdiff_t>(damaged) + 60, '\x5a');
  write_file(folder / "damaged.b2nd", bytes);
  const auto volume = open_volume(folder / "damaged.b2nd", "");
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const Box lower{{0, 0, 0}, {14, 22, 19}}, upper{{14, 0, 0}, {25, 22, 19}};
  for (int round = 0; round < 2; ++round) {
    CHECK(reason_of([&] { cached.provide(*volume, upper); }) != "");
    CHECK(cached.provide(*volume, lower));
  }
  std::vector<float> expected(static_cast<std::size_t>(voxels(lower.shape())));
  good->read(0, lower, expected.data(), -1.0f);
  CHECK(read_cached(cached, *volume, 0, lower) == expected);
}

TEST_CASE("volume_cache: what can be read of a damaged .npz is what can be read without") {
  TemporaryFolder folder;
  const auto image = ramp<float>({1, 25, 22, 19});
  Bytes archive = zip_bytes({{"data.npy", npy_bytes(image, "<f4")}}, true, false);
  // The directory says that the data ends before it does.
  const std::size_t compressed = deflated(npy_bytes(image, "<f4")).size();
  archive.replace(archive.find("PK\x01\x02") + 20, 4, number_bytes(compressed * 9 / 10, 4));
  write_file(folder / "case.npz", archive);
  const auto volume = open_volume(folder / "case.npz", "data");
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const Box first{{0, 0, 0}, {3, 22, 19}};
  for (int round = 0; round < 2; ++round) {
    CHECK_FALSE(cached.provide(*volume, first));
    CHECK(box_is_right<float>(*volume, image, 0, first));
  }
  CHECK(cache.memory() == 0);
  CHECK(reason_of([&] { box_is_right<float>(*volume, image, 0, Box::of_shape(volume->shape())); }) != "");
}

TEST_CASE("volume_cache: what is kept needs no file, and the rest is not read of another one") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  write_b2nd(path, ramp<float>({1, 25, 22, 19}), "<f4", kTiles);
  const auto volume = open_volume(path, "");
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const Box all = Box::of_shape(volume->shape()), half{{0, 0, 0}, {14, 22, 19}};
  CHECK_FALSE(cached.has(half));
  CHECK(cached.provide(*volume, half));
  CHECK(cached.has(half));
  std::filesystem::rename(path, folder / "away.b2nd");
  CHECK(cached.has(half));
  CHECK(cached.provide(*volume, half));
  CHECK_FALSE(cached.has(all));
  CHECK(contains(reason_of([&] { cached.provide(*volume, all); }), "gone"));
  write_b2nd(path, ramp<float>({1, 25, 22, 19}), "<f4", kTiles);
  CHECK(contains(reason_of([&] { cached.provide(*volume, all); }), "replaced"));
  CHECK(cached.provide(*volume, half));
}

// Whatever the file's chunks hold of the channels.
void check_bytes_of_filling(const Compression& compression) {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  write_b2nd(path, ramp<float>({2, 25, 22, 19}), "<f4", compression);
  const Bytes file = read_file(path);
  const auto volume = open_b2nd(path);
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const std::uint64_t before = volume->bytes_read();
  CHECK(cached.provide(*volume, Box::of_shape(volume->shape())));
  CHECK(cache.misses() == kTileCount);
  CHECK(volume->bytes_read() - before <= file.size());
  CHECK(volume->bytes_read() - before >= file.size() / 2);
}

TEST_CASE("volume_cache: filling reads every block once") {
  check_bytes_of_filling(kTiles);
  check_bytes_of_filling({{2, 14, 12, 11}, {2, 8, 7, 6}});
}

// A file that does what a test tells it to whenever it is read.
class Told final : public Volume {
 public:
  Told(Volume& volume, std::function<void()> before) : Told(volume, std::move(before), volume.facts()) {}
  void read(std::int64_t, const Box&, float*, float) override {}
  void read(std::int64_t, const Box&, std::int16_t*, std::int16_t) override {}
  void read_channels(const Box&, float*, float) override {}
  void read_channels(const Box&, std::int16_t*, std::int16_t) override {}
  void read_channels(const Box& box, float* corner, const Steps& steps) override {
    before_();
    volume_.read_channels(box, corner, steps);
  }
  void read_channels(const Box& box, std::int16_t* corner, const Steps& steps) override {
    before_();
    volume_.read_channels(box, corner, steps);
  }
  std::optional<Tiling> tiling() const override { return volume_.tiling(); }
  void check() override {}
  void check_once() override {}
  std::uint64_t content() override { return 0; }
  void take_content(std::uint64_t) override {}
  const platform::FileStamp& stamp() const override { return volume_.stamp(); }
  std::size_t memory() const override { return 0; }
  std::uint64_t bytes_read() const override { return 0; }

 private:
  Told(Volume& volume, std::function<void()> before, const VolumeFacts& facts)
      : Volume("told", facts.channels, facts.shape), volume_(volume), before_(std::move(before)) {}
  Volume& volume_;
  std::function<void()> before_;
};

TEST_CASE("volume_cache: all who wait for a block get it, whoever fills it and whether that succeeds") {
  TemporaryFolder folder;
  const auto image = ramp<float>({1, 25, 22, 19});
  write_b2nd(folder / "case.b2nd", image, "<f4", kTiles);
  for (const bool fails : {false, true}) {
    CAPTURE(fails);
    VolumeCache cache(1 << 20);
    const Box box{{0, 0, 0}, {8, 7, 6}};
    std::atomic<int> reads{0}, good{0}, errors{0}, started{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread)
      threads.emplace_back([&] {
        const auto volume = open_volume(folder / "case.b2nd", "");
        Told told(*volume, [&] {
          if (reads++ > 0) return;
          while (started < 4) std::this_thread::yield();
          std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until the others wait
          if (fails) throw StorageError("told", "damaged");
        });
        ++started;
        try {
          CachedVolume<float>& cached = *cache.find<float>(0, *volume);
          good += cached.provide(told, box);
        } catch (const StorageError&) {
          ++errors;
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(reads == (fails ? 2 : 1));
    CHECK(good == (fails ? 3 : 4));
    CHECK(errors == (fails ? 1 : 0));
  }
}

TEST_CASE("volume_cache: an error that may pass, or a limit, is none of the file's, and it is tried again") {
  TemporaryFolder folder;
  const auto image = ramp<float>({1, 25, 22, 19});
  write_file(folder / "case.npz", zip_bytes({{"data.npy", npy_bytes(image, "<f4")}}, true, false));
  const auto volume = open_volume(folder / "case.npz", "data");
  const Box all = Box::of_shape(volume->shape());
  using Failure = std::function<void()>;
  const std::pair<Failure, bool> failures[] = {
      {[] { throw StorageError("told", "no answer", Passing::yes); }, true},
      {[] { throw StorageError("told", "changed", Passing::if_it_changes); }, true},
      {[] { throw ResourceError("told", "no memory"); }, true},
      {[] { throw StorageError("told", "damaged"); }, false}};
  for (const auto& [fail, again] : failures) {
    VolumeCache cache(1 << 20);
    CachedVolume<float>& cached = *cache.find<float>(0, *volume);
    Told told(*volume, fail);
    for (int round = 0; round < 2; ++round) {
      if (again)
        CHECK_THROWS_AS(cached.provide(told, all), StorageError);
      else
        CHECK_FALSE(cached.provide(told, all));
      CHECK_FALSE(cached.has(all));
    }
    CHECK(cached.provide(*volume, all) == again);
    CHECK(cache.memory() == (again ? image.values.size() * sizeof(float) : 0));
  }
}

TEST_CASE("volume_cache: hits and misses are counted once for a block, and where they are to be") {
  TemporaryFolder folder;
  write_b2nd(folder / "case.b2nd", ramp<float>({1, 25, 22, 19}), "<f4", kTiles);
  const auto volume = open_volume(folder / "case.b2nd", "");
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const Box two{{0, 0, 0}, {14, 7, 6}}, four{{0, 0, 0}, {14, 12, 6}};
  const auto counted = [&] { return std::pair(cache.hits(), cache.misses()); };
  using Counts = std::pair<std::uint64_t, std::uint64_t>;
  cached.provide(*volume, two, false);
  CHECK(counted() == Counts{0, 2});
  CHECK(cached.has(two, false));
  cached.provide(*volume, two, false);
  CHECK(counted() == Counts{0, 2});
  CHECK_FALSE(cached.has(four));
  CHECK(counted() == Counts{0, 2});
  CHECK(cached.has(two));
  CHECK(counted() == Counts{2, 2});
  cached.provide(*volume, four);
  CHECK(counted() == Counts{4, 4});
  cached.missed(two);
  CHECK(counted() == Counts{4, 6});
  // Nothing of the image, wherever it is.
  for (const Box& none :
       {Box{}, Box{{25, 22, 19}, {25, 22, 19}}, Box{{3, 3, 3}, {3, 9, 9}}, Box{{3, 3, 3}, {9, 9, 3}}}) {
    CHECK(cached.has(none));
    CHECK(cached.provide(*volume, none));
    cached.missed(none);
  }
  CHECK(counted() == Counts{4, 6});
}

TEST_CASE("volume_cache: a file has a place of its own shape, channels, blocks and type of voxels") {
  VolumeCache cache(1 << 20);
  const VolumeFacts facts{2, {25, 22, 19}, Tiling{{14, 12, 11}, {8, 7, 6}}};
  CachedVolume<float>* const place = cache.find<float>(0, facts);
  REQUIRE(place != nullptr);
  CHECK(place->has_place());
  CHECK(cache.find<float>(0, facts) == place);
  CHECK(cache.find<float>(1, facts) != place);
  CHECK(static_cast<void*>(cache.find<std::int16_t>(0, facts)) != static_cast<void*>(place));
  VolumeFacts other = facts;
  other.channels = 1;
  CHECK(cache.find<float>(0, other) == nullptr);
  for (int axis = 0; axis < 3; ++axis) {
    other = facts;
    --other.shape[axis];
    CHECK(cache.find<float>(0, other) == nullptr);
    other = facts;
    --other.tiling->chunk[axis];
    CHECK(cache.find<float>(0, other) == nullptr);
    other = facts;
    --other.tiling->block[axis];
    CHECK(cache.find<float>(0, other) == nullptr);
  }
}

TEST_CASE("volume_cache: the budget holds what is noted of the blocks, and the system may have less") {
  const VolumeFacts facts{1, {25, 22, 19}, Tiling{{14, 12, 11}, {8, 7, 6}}};
  const std::size_t all = 25 * 22 * 19 * sizeof(float) + kTileCount;
  VolumeCache enough(all), less(all - 1);
  CHECK(enough.find<float>(0, facts)->has_place());
  CHECK_FALSE(less.find<float>(0, facts)->has_place());
  CHECK(less.find<std::int16_t>(0, facts)->has_place());
#ifndef FASTNNUNET_SANITIZED
  VolumeCache much(std::size_t{1} << 62);
  const std::int64_t side = 1 << 19;
  const VolumeFacts large{1, {side, side, side}, Tiling{{side, side, side}, {side, side, side}}};
  CachedVolume<float>* const none = much.find<float>(0, large);
  REQUIRE(none != nullptr);
  CHECK_FALSE(none->has_place());
  CHECK_FALSE(none->has({{0, 0, 0}, {1, 1, 1}}));
#endif
}

#if defined(__linux__) && !defined(FASTNNUNET_SANITIZED)

TEST_CASE("volume_cache: its memory goes back to the system with it") {
  const auto address_space = [] {
    std::ifstream in("/proc/self/statm");
    std::uint64_t pages = 0;
    in >> pages;
    return pages * 4096;
  };
  const VolumeFacts facts{1, {256, 256, 256}, Tiling{{256, 256, 256}, {256, 256, 256}}};
  const std::uint64_t before = address_space(), one = 256 * 256 * 256 * sizeof(float);
  for (int i = 0; i < 20; ++i) CHECK(VolumeCache(std::size_t{1} << 30).find<float>(0, facts)->has_place());
  CHECK(address_space() < before + 2 * one);
}

#endif

TEST_CASE("volume_cache: blocks that are not finite are known") {
  TemporaryFolder folder;
  auto image = ramp<float>({2, 25, 22, 19});
  image.values.back() = std::nanf("");                       // the last block of the second channel
  image.values[0] = std::numeric_limits<float>::infinity();  // the first of the first
  write_b2nd(folder / "case.b2nd", image, "<f4", kTiles);
  const auto volume = open_volume(folder / "case.b2nd", "");
  VolumeCache cache(1 << 20);
  CachedVolume<float>& cached = *cache.find<float>(0, *volume);
  const Box first{{0, 0, 0}, {2, 2, 2}}, middle{{8, 7, 6}, {16, 15, 14}}, last{{24, 21, 18}, {25, 22, 19}};
  for (const Box& box : {first, middle, last}) cached.provide(*volume, box);
  for (const Box& box : {first, middle, last}) CHECK(cached.has(box));
  CHECK_FALSE(cached.finite(first));
  CHECK(cached.finite(middle));
  CHECK_FALSE(cached.finite(last));
}

}  // namespace
}  // namespace fastnnunet::storage
