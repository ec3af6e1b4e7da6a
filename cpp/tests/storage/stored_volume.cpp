// What reads of every format refuse, and when they look whether the file is still what it was.
#include "fastnnunet/storage/stored_volume.h"

#ifdef __linux__
#include <fcntl.h>
#include <unistd.h>
#endif

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

const std::vector<std::int64_t> kShape = {2, 25, 22, 19};

template <typename Check>
void for_every_format(const Check& check) {
  const auto array = ramp<float>(kShape);
  for (const std::string name : {"case.b2nd", "case.npy", "deflated.npz", "stored.npz"}) {
    CAPTURE(name);
    const TemporaryFolder folder;
    const auto path = folder / name;
    if (path.extension() == ".b2nd") write_b2nd(path, array, "<f4", {{1, 14, 12, 11}, {1, 8, 7, 6}});
    if (path.extension() == ".npy") write_file(path, npy_bytes(array, "<f4"));
    if (path.extension() == ".npz")
      write_file(path, zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, name == "deflated.npz", false));
    const auto volume = open_volume(path, "data");
    check(path, *volume, array);
  }
}

// As on a disk whose clock has moved on.
void touch(const std::filesystem::path& path) {
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(5));
}

TEST_CASE("stored_volume: a box that is turned inside out, on whichever axis") {
  for_every_format([](const std::filesystem::path&, Volume& volume, const Array<float>&) {
    std::vector<float> out(2 * 25 * 22 * 19);
    std::vector<std::int16_t> labels(out.size());
    for (int axis = 0; axis < 3; ++axis) {
      CAPTURE(axis);
      Box box = Box::of_shape(volume.shape());
      box.lower[axis] = 3;
      box.upper[axis] = 2;
      CHECK_THROWS_AS(volume.read(0, box, out.data(), 0.0f), InvalidArgument);
      CHECK_THROWS_AS(volume.read(1, box, labels.data(), std::int16_t{0}), InvalidArgument);
      CHECK_THROWS_AS(volume.read_channels(box, out.data(), 0.0f), InvalidArgument);
      CHECK_THROWS_AS(volume.read_channels(box, labels.data(), std::int16_t{0}), InvalidArgument);
    }
  });
}

TEST_CASE("stored_volume: a part of a larger buffer takes a box inside the image, and nothing else is written") {
  for_every_format([](const std::filesystem::path&, Volume& volume, const Array<float>& array) {
    const Steps steps = {30 * 30 * 30, 30 * 30, 30};
    std::vector<float> buffer(2 * 30 * 30 * 30, -7.0f);
    float* const corner = buffer.data() + 2 * steps.plane + 3 * steps.row + 4;
    for (const Box& box : {Box{{1, 2, 3}, {20, 21, 18}}, Box{{8, 7, 6}, {14, 12, 11}}, Box::of_shape(volume.shape())}) {
      CAPTURE(box.lower, box.upper);
      std::fill(buffer.begin(), buffer.end(), -7.0f);
      volume.read_channels(box, corner, steps);
      const Index3 size = box.shape();
      int wrong = 0;
      for (std::int64_t c = 0; c < 2; ++c)
        for (std::int64_t x = -2; x < 28; ++x)
          for (std::int64_t y = -3; y < 27; ++y)
            for (std::int64_t z = -4; z < 26; ++z) {
              const bool inside = x >= 0 && y >= 0 && z >= 0 && x < size[0] && y < size[1] && z < size[2];
              const float expected = inside ? array.at(c, box.lower[0] + x, box.lower[1] + y, box.lower[2] + z) : -7.0f;
              wrong += corner[c * steps.channel + x * steps.plane + y * steps.row + z] != expected;
            }
      CHECK(wrong == 0);
    }
    for (int axis = 0; axis < 3; ++axis)
      for (const int end : {0, 1, 2}) {
        CAPTURE(axis, end);
        Box box = Box::of_shape(volume.shape());
        if (end == 0) box.lower[axis] = -1;
        if (end == 1) ++box.upper[axis];
        if (end == 2) box.upper[axis] = box.lower[axis];
        CHECK_THROWS_AS(volume.read_channels(box, corner, steps), InvalidArgument);
      }
  });
}

TEST_CASE("stored_volume: whoever checks once still checks before the first read") {
  for_every_format([](const std::filesystem::path& path, Volume& volume, const Array<float>& array) {
    std::vector<float> out(25 * 22 * 19);
    const auto reason = [&] {
      return reason_of([&] { volume.read(0, Box::of_shape(volume.shape()), out.data(), 0.0f); });
    };
    volume.check_once();
    CHECK(reason().empty());
    const auto old = path.parent_path() / "old";
    std::filesystem::rename(path, old);
    std::filesystem::copy_file(old, path);
    touch(path);
    // With the same content, which nobody had asked for before.
    volume.check_once();
    CHECK(contains(reason(), "file was replaced or changed"));
    std::filesystem::rename(old, path);
    volume.check_once();
    CHECK(reason().empty());
    CHECK(box_is_right<float>(volume, array, 1, Box::of_shape(volume.shape())));
  });
}

std::optional<Passing> passing_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const StorageError& error) {
    return error.passing();
  }
  return std::nullopt;
}

TEST_CASE("stored_volume: a file that was good and is damaged while it is read may be on its way to another one") {
  for (const std::string name : {"case.b2nd", "case.npz"}) {
    CAPTURE(name);
    const TemporaryFolder folder;
    const auto path = folder / name;
    const auto array = ramp<float>(kShape);
    if (name == "case.b2nd") write_b2nd(path, array, "<f4", {{1, 14, 12, 11}, {1, 8, 7, 6}});
    if (name == "case.npz") write_file(path, zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, true, false));
    const Bytes whole = read_file(path);
    Bytes damaged = whole;
    for (std::size_t i = damaged.size() / 8; i < damaged.size(); ++i) damaged[i] = '\x5a';
    const auto volume = open_volume(path, "data");
    volume->content();
    volume->check_once();
    std::vector<float> out(2 * 25 * 22 * 19);
    const auto read = [&] { volume->read_channels(Box::of_shape(volume->shape()), out.data(), 0.0f); };
    CHECK(passing_of(read) == std::nullopt);
    // In place, without a check: it is the decoder that finds it.
    write_file(path, damaged);
    touch(path);
    CHECK(passing_of(read) == Passing::if_it_changes);
    // After an error it is looked at again.
    CHECK(contains(reason_of(read), "file was replaced or changed"));
    write_file(path, whole);
    CHECK(passing_of(read) == std::nullopt);
  }
}

// One whose reading ends as a test says.
class Ending final : public StoredVolume {
 public:
  Ending(const std::filesystem::path& path, std::function<void()> end)
      : StoredVolume(std::make_unique<platform::InputFile>(path), Element::uint8, 1, {2, 2, 2}), end_(std::move(end)) {}
  std::size_t memory() const override { return 0; }

 private:
  void read_inside(std::int64_t, std::int64_t, const Box&, const VoxelWriter&) override { end_(); }
  std::function<void()> end_;
};

TEST_CASE("stored_volume: a limit of the process is none of a file's, be it another by now") {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  write_file(path, "some");
  Ending volume(path, [&] {
    write_file(path, "other");
    throw ResourceError("file", "no memory is left");
  });
  volume.content();
  float out[8];
  CHECK_THROWS_AS(volume.read(0, {{0, 0, 0}, {2, 2, 2}}, out, 0.0f), ResourceError);
}

#ifdef __linux__

TEST_CASE("stored_volume: a handle that gave an error that may pass is not used again") {
  const TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const auto array = ramp<float>(kShape);
  write_file(path, npy_bytes(array, "<f4"));
  for (const bool once : {false, true}) {
    CAPTURE(once);
    // The lowest number that is free, which the file gets.
    const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(number);
    const auto volume = open_volume(path, "");
    REQUIRE(std::filesystem::equivalent("/proc/self/fd/" + std::to_string(number), path));
    volume->content();
    // Where there is no memory, this gives EIO, as a stale handle does for ever.
    const int stale = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    REQUIRE(::dup2(stale, number) == number);
    ::close(stale);
    if (once) volume->check_once();
    std::vector<float> out(25 * 22 * 19);
    CHECK(passing_of([&] { volume->read(0, Box::of_shape(volume->shape()), out.data(), 0.0f); }) == Passing::yes);
    CHECK(box_is_right<float>(*volume, array, 1, Box::of_shape(volume->shape())));
  }
}

#endif

TEST_CASE("stored_volume: shapes that a file may have") {
  CHECK(volume_shape("file", {2, 3, 4}, Element::float32).channels == 1);
  CHECK(volume_shape("file", {2, 3, 4}, Element::float32).shape == Index3{2, 3, 4});
  CHECK(volume_shape("file", {5, 2, 3, 4}, Element::float64).channels == 5);
  CHECK(volume_shape("file", {5, 2, 3, 4}, Element::float64).shape == Index3{2, 3, 4});
  CHECK(volume_shape("file", {5, 2, 3, 4}, Element::float64).bytes == 8 * 120);
  using Axes = std::vector<std::int64_t>;
  for (const Axes& axes : {Axes{}, Axes{4}, Axes{3, 4}, Axes{1, 5, 2, 3, 4}, Axes{1, 1, 5, 2, 3, 4}})
    CHECK(contains(reason_of([&] { volume_shape("file", axes, Element::int8); }), "(C, X, Y, Z) or (X, Y, Z)"));
  for (std::size_t axis = 0; axis < 4; ++axis)
    for (const std::int64_t wrong : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN}) {
      Axes axes = {5, 2, 3, 4};
      axes[axis] = wrong;
      CHECK(
          contains(reason_of([&] { volume_shape("file", axes, Element::int8); }), "at least one voxel on every axis"));
    }
  const Axes large = {1 << 20, 1 << 20, 1 << 20};
  CHECK(volume_shape("file", large, Element::uint8).bytes == std::uint64_t{1} << 60);
  CHECK(contains(reason_of([&] { volume_shape("file", large, Element::float32); }), "memory can hold"));
}

}  // namespace
}  // namespace fastnnunet::storage
