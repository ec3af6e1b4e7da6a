#include "fastnnunet/storage/cache/known_files.h"

#include <chrono>
#include <functional>
#include <string>

#include "fastnnunet/storage/formats.h"
#include "message.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

const Compression kTiles{{1, 14, 12, 11}, {1, 8, 7, 6}};
const std::vector<std::int64_t> kShape{1, 25, 22, 19};

void write(const std::filesystem::path& path, const Array<float>& array) {
  if (path.extension() == ".b2nd") write_b2nd(path, array, "<f4", kTiles);
  if (path.extension() == ".npy") write_file(path, npy_bytes(array, "<f4"));
  if (path.stem() == "deflated") write_file(path, zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, true, false));
  if (path.stem() == "stored") write_file(path, zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, false, false));
}

// As on a disk whose clock has moved on.
void touch(const std::filesystem::path& path) {
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(5));
}

template <typename Check>
void for_every_format(const Check& check) {
  for (const std::string name : {"case.b2nd", "case.npy", "deflated.npz", "stored.npz"}) {
    CAPTURE(name);
    const TemporaryFolder folder;
    const auto path = folder / name;
    write(path, ramp<float>(kShape));
    check(path, [&] { return open_volume(path, "data"); });
  }
}

TEST_CASE("known_files: a file that was touched, or moved to another inode with its content, is read on") {
  const auto move = [](const std::filesystem::path& path) {
    const auto copy = path.parent_path() / "copy";
    std::filesystem::copy_file(path, copy);
    std::filesystem::rename(copy, path);
  };
  const auto write_again = [](const std::filesystem::path& path) {
    write_file(path, read_file(path));
    touch(path);
  };
  for_every_format([&](const std::filesystem::path& path, const auto& open) {
    const auto array = ramp<float>(kShape);
    KnownFiles known;
    const auto volume = open();
    known.admit(0, *volume);
    check_volume(*volume, array);
    for (const std::function<void(const std::filesystem::path&)>& change :
         {std::function<void(const std::filesystem::path&)>(touch), {move}, {write_again}}) {
      const platform::FileStamp before = volume->stamp();
      change(path);
      check_volume(*volume, array);
      CHECK_FALSE(volume->stamp() == before);
      const auto other = open();
      CHECK(known.admit(0, *other) == volume->facts());
      check_volume(*other, array);
    }
  });
}

TEST_CASE("known_files: other content of the same shape and size is an error for every thread") {
  for_every_format([](const std::filesystem::path& path, const auto& open) {
    KnownFiles known;
    const auto volume = open();
    known.admit(0, *volume);
    // Its first voxel, and all of its last plane.
    auto other = ramp<float>(kShape);
    other.values[0] += 1;
    for (std::size_t i = other.values.size() - 22 * 19; i < other.values.size(); ++i) other.values[i] += 3;
    std::filesystem::rename(path, path.parent_path() / "old");
    write(path, other);
    touch(path);
    std::vector<float> out(25 * 22 * 19);
    const auto reason = [&] {
      return reason_of([&] { volume->read(0, Box::of_shape(volume->shape()), out.data(), 0.0f); });
    };
    CHECK(has(reason(), "file was replaced or changed"));
    const auto fresh = open();
    CHECK(has(reason_of([&] { known.admit(0, *fresh); }), "file was replaced or changed"));
    std::filesystem::rename(path.parent_path() / "old", path);
    CHECK(reason().empty());
  });
}

TEST_CASE("known_files: a file that is written over in place is another at once, within a second, too") {
  for_every_format([](const std::filesystem::path& path, const auto& open) {
    const auto time = std::filesystem::last_write_time(path);
    const auto second = std::chrono::floor<std::chrono::seconds>(time);
    std::filesystem::last_write_time(path, second + std::chrono::milliseconds(100));
    KnownFiles known;
    const auto volume = open();
    known.admit(0, *volume);
    auto other = ramp<float>(kShape);
    for (float& value : other.values) value += 1;
    write(path, other);
    std::filesystem::last_write_time(path, second + std::chrono::milliseconds(101));
    std::vector<float> out(25 * 22 * 19);
    // What is deflated may be found to be damaged first.
    const std::string reason = reason_of([&] { volume->read(0, Box::of_shape(volume->shape()), out.data(), 0.0f); });
    CHECK((has(reason, "file was replaced or changed") || (path.stem() == "deflated" && !reason.empty())));
  });
}

TEST_CASE("known_files: a voxel in the middle of a large .npy makes another content") {
  const TemporaryFolder folder;
  const auto path = folder / "case.npy";
  auto array = ramp<float>({1, 40, 200, 200});
  write_file(path, npy_bytes(array, "<f4"));
  KnownFiles known;
  known.admit(0, *open_volume(path, ""));
  for (std::size_t i = array.values.size() / 2; i < array.values.size() / 2 + 200 * 200 * 4; ++i) array.values[i] += 1;
  write_file(path, npy_bytes(array, "<f4"));
  touch(path);
  CHECK(has(reason_of([&] { known.admit(0, *open_volume(path, "")); }), "file was replaced or changed"));
}

TEST_CASE("known_files: every handle knows the content that the first one had") {
  for_every_format([](const std::filesystem::path& path, const auto& open) {
    const auto array = ramp<float>(kShape);
    KnownFiles known;
    known.admit(0, *open());
    const auto second = open();
    known.admit(0, *second);  // of the same stamp: nothing is read
    touch(path);
    check_volume(*second, array);
  });
}

TEST_CASE("known_files: a file of the same size and time in another's place is another") {
  for_every_format([](const std::filesystem::path& path, const auto& open) {
    const auto time = std::filesystem::last_write_time(path);
    KnownFiles known;
    const auto volume = open();
    known.admit(0, *volume);
    auto other = ramp<float>(kShape);
    for (float& value : other.values) value += 1;
    const auto folder = path.parent_path() / "copy";
    std::filesystem::create_directory(folder);
    write(folder / path.filename(), other);
    // As rsync and cp -p leave it.
    std::filesystem::last_write_time(folder / path.filename(), time);
    std::filesystem::rename(folder / path.filename(), path);
    std::vector<float> out(25 * 22 * 19);
    CHECK(has(reason_of([&] { volume->read(0, Box::of_shape(volume->shape()), out.data(), 0.0f); }),
              "file was replaced or changed"));
  });
}

TEST_CASE("known_files: the first handle of an archive is verified") {
  const TemporaryFolder folder;
  const auto path = folder / "deflated.npz";
  const auto array = ramp<float>(kShape);
  Bytes archive = zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, true, false);
  const std::size_t sum = archive.find("PK\x01\x02") + 16;
  archive[sum] = static_cast<char>(archive[sum] ^ 1);
  write_file(path, archive);
  KnownFiles known;
  const auto volume = open_volume(path, "data");
  CHECK(has(reason_of([&] { known.admit(0, *volume); }), "CRC-32"));
  CHECK(known.find(0) == nullptr);
  // A part of it would not have shown that.
  CHECK(box_is_right<float>(*volume, array, 0, {{0, 0, 0}, {4, 22, 19}}));
  // Verifying begins with a check, as every read.
  std::filesystem::rename(path, folder / "away");
  CHECK(has(reason_of([&] { volume->verify(); }), "gone"));
}

TEST_CASE("known_files: what was there is known") {
  const TemporaryFolder folder;
  write(folder / "case.b2nd", ramp<float>(kShape));
  KnownFiles known;
  CHECK(known.find(4) == nullptr);
  CHECK_FALSE(known.was_there(4));
  known.admit(4, *open_volume(folder / "case.b2nd", ""));
  REQUIRE(known.find(4) != nullptr);
  CHECK(known.find(4)->shape == Index3{25, 22, 19});
  CHECK(known.was_there(4));
  CHECK_FALSE(known.was_there(7));
  known.saw(7);
  CHECK(known.was_there(7));
}

TEST_CASE("known_files: an error tells whether it may pass") {
  const TemporaryFolder folder;
  const auto passing_of = [](const auto& work) {
    try {
      work();
    } catch (const StorageError& error) {
      return error.passing();
    }
    return Passing::no;
  };
  const auto path = folder / "case.b2nd";
  CHECK(passing_of([&] { open_volume(path, ""); }) == Passing::if_it_was_there);
  write(path, ramp<float>(kShape));
  KnownFiles known;
  const auto volume = open_volume(path, "");
  known.admit(0, *volume);
  std::vector<float> out(25 * 22 * 19);
  const auto read = [&] { volume->read(0, Box::of_shape(volume->shape()), out.data(), 0.0f); };
  std::filesystem::rename(path, folder / "away");
  CHECK(passing_of(read) == Passing::yes);
  write(path, ramp<float>({1, 25, 22, 18}));
  CHECK(passing_of(read) == Passing::if_it_changes);
  CHECK(passing_of([&] { known.admit(0, *open_volume(path, "")); }) == Passing::if_it_changes);
  std::filesystem::rename(folder / "away", path);
  read();
  const Bytes whole = read_file(path);
  write_file(path, whole.substr(0, whole.size() / 2));
  CHECK(has(reason_of(read), "it had " + std::to_string(whole.size()) + " bytes when it was opened, file has " +
                                 std::to_string(whole.size() / 2)));
  CHECK(passing_of(read) == Passing::if_it_changes);
  // A smaller one in its place is not cut, but another.
  write_file(folder / "smaller", whole.substr(0, whole.size() / 2));
  std::filesystem::rename(folder / "smaller", path);
  CHECK(has(reason_of(read), "replaced or changed"));
  write_file(path, "nonsense");
  CHECK(passing_of([&] { open_volume(path, ""); }) == Passing::no);
}

}  // namespace
}  // namespace fastnnunet::storage
