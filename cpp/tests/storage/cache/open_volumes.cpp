#include "fastnnunet/storage/cache/open_volumes.h"

#include "process_limits.h"
#include "sanitized.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

TEST_CASE("open_volumes: the least recently used file is closed") {
  TemporaryFolder folder;
  std::vector<std::filesystem::path> paths;
  for (int i = 0; i < 6; ++i) {
    paths.push_back(folder / ("case" + std::to_string(i) + ".b2nd"));
    write_b2nd(paths.back(), ramp<float>({1, 8, 8, 8 + i}), "<f4", {{1, 8, 8, 8}, {1, 4, 4, 8}});
  }
#ifdef __linux__
  const auto open_files = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = open_files();
#endif
  OpenVolumes volumes(3);
  std::vector<float> out(8 * 8 * 8);
  const auto read = [&](int i) {
    Volume& volume = volumes.get(paths[static_cast<std::size_t>(i)], "");
    volume.read(0, Box::of_shape({8, 8, 8}), out.data(), 0.0f);
    return volume.shape()[2] - 8;
  };
  std::uint64_t bytes = 0;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 6; ++i) {
      CHECK(read(i) == i);
      CHECK(volumes.size() <= 3);
      CHECK(volumes.bytes_read() > bytes);
      bytes = volumes.bytes_read();
    }
  }
  CHECK(volumes.size() == 3);
  CHECK(volumes.memory() > 0);
#ifdef __linux__
  CHECK(open_files() == before + 3);
#endif
  // 3, 4 and 5 are open. Using 3 keeps it when another is opened; 4 goes.
  const Volume* third = &volumes.get(paths[3], "");
  volumes.get(paths[0], "");
  CHECK(&volumes.get(paths[3], "") == third);
  volumes.clear();
  CHECK(volumes.size() == 0);
  CHECK(volumes.memory() == 0);
  CHECK(volumes.bytes_read() == bytes);
#ifdef __linux__
  CHECK(open_files() == before);
#endif
}

TEST_CASE("open_volumes: what files keep is bounded, but those of one sample stay open") {
  TemporaryFolder folder;
  std::vector<std::filesystem::path> paths;
  for (int i = 0; i < 6; ++i) {
    paths.push_back(folder / ("case" + std::to_string(i) + ".b2nd"));
    write_b2nd(paths.back(), ramp<float>({1, 8, 8, 8}), "<f4", {{1, 8, 8, 8}, {1, 4, 4, 8}});
  }
  std::vector<float> out(8 * 8 * 8);
  const auto use = [&](OpenVolumes& volumes, std::size_t i) {
    volumes.get(paths[i], "").read(0, Box::of_shape({8, 8, 8}), out.data(), 0.0f);
  };
  OpenVolumes one(6);
  use(one, 0);
  const std::size_t of_one = one.memory();

  OpenVolumes four(6, 4 * of_one);
  for (std::size_t i = 0; i < 12; ++i) {
    use(four, i % 6);
    CHECK(four.memory() <= 5 * of_one);  // closed before the next one is opened
  }
  OpenVolumes none(6, 0);
  for (std::size_t i = 0; i < 6; ++i) use(none, i);
  CHECK(none.size() == OpenVolumes::kOfOneSample);
}

TEST_CASE("open_volumes: one file is open whatever the limit") {
  TemporaryFolder folder;
  for (const char* name : {"a.npy", "b.npy"}) write_file(folder / name, npy_bytes(ramp<float>({1, 3, 4, 5}), "<f4"));
  for (const std::size_t limit : {0, 1}) {
    OpenVolumes volumes(limit);
    for (int round = 0; round < 2; ++round)
      for (const char* name : {"a.npy", "b.npy"}) {
        CHECK(volumes.get(folder / name, "").channels() == 1);
        CHECK(volumes.size() == 1);
      }
  }
}

// UndefinedBehaviorSanitizer looks at objects through a pipe, and takes them for broken where it gets none.
#if defined(__linux__) && !defined(FASTNNUNET_SANITIZED)

TEST_CASE("open_volumes: where the process may open no more files, those of other samples are closed") {
  TemporaryFolder folder;
  std::vector<std::filesystem::path> paths;
  for (int i = 0; i < 7; ++i) {
    paths.push_back(folder / ("case" + std::to_string(i) + ".npy"));
    write_file(paths.back(), npy_bytes(ramp<float>({1, 3, 4, 5 + i}), "<f4"));
  }
  OpenVolumes volumes(100);
  for (std::size_t i = 0; i < 5; ++i) volumes.get(paths[i], "");
  {
    const Limit no_more(RLIMIT_NOFILE, next_file());
    CHECK(volumes.get(paths[5], "").shape()[2] == 10);
    // The new one, and those that were used last.
    CHECK(volumes.size() == OpenVolumes::kOfOneSample);
  }
  CHECK(volumes.get(paths[4], "").shape()[2] == 9);
  CHECK(volumes.size() == OpenVolumes::kOfOneSample);
  OpenVolumes few(100);
  few.get(paths[0], "");
  const Volume* const second = &few.get(paths[1], "");
  {
    const Limit no_more(RLIMIT_NOFILE, next_file());
    // They are this sample's own.
    CHECK_THROWS_AS(few.get(paths[6], ""), ResourceError);
    CHECK(few.size() == 2);
    CHECK(&few.get(paths[1], "") == second);
  }
  CHECK(few.get(paths[6], "").shape()[2] == 11);
}

#endif

TEST_CASE("open_volumes: members of one archive are two volumes") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  write_file(path, zip_bytes({{"data.npy", npy_bytes(ramp<float>({2, 3, 4, 5}), "<f4")},
                              {"seg.npy", npy_bytes(ramp<std::int8_t>({1, 3, 4, 5}), "|i1")}},
                             true, false));
  OpenVolumes volumes(4);
  CHECK(volumes.get(path, "data").channels() == 2);
  CHECK(volumes.get(path, "seg").channels() == 1);
  CHECK(volumes.get(path, "data").channels() == 2);
  CHECK(volumes.size() == 2);
}

TEST_CASE("open_volumes: a file that cannot be opened leaves the others") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  write_file(path, npy_bytes(ramp<float>({1, 3, 4, 5}), "<f4"));
  OpenVolumes volumes(2);
  volumes.get(path, "");
  CHECK_THROWS_AS(volumes.get(folder / "missing.npy", ""), StorageError);
  CHECK_THROWS_AS(volumes.get(folder / "case.nii.gz", ""), StorageError);
  CHECK(volumes.get(path, "").shape() == Index3{3, 4, 5});
}

TEST_CASE("Names of files that are not ASCII") {
  TemporaryFolder folder;
  const auto array = ramp<float>({1, 6, 7, 8});
  const std::filesystem::path name = u8"Fälle-Снимок-画像";
  std::filesystem::create_directory(folder / name);
  auto npy = folder / name / name;
  npy += ".npy";
  auto npz = folder / name / name;
  npz += ".npz";
  auto b2nd = folder / name / name;
  b2nd += ".b2nd";
  write_file(npy, npy_bytes(array, "<f4"));
  write_file(npz, zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, true, false));
  // c-blosc2 itself does not open such names on every system.
  const auto plain = folder / "plain.b2nd";
  write_b2nd(plain, array, "<f4", {{1, 6, 7, 8}, {1, 3, 4, 8}});
  std::filesystem::rename(plain, b2nd);
  OpenVolumes volumes(3);
  for (const auto& path : {npy, npz, b2nd}) {
    Volume& volume = volumes.get(path, "data");
    check_volume(volume, array);
    const std::u8string expected = path.u8string();
    CHECK(volume.file() == std::string(expected.begin(), expected.end()));
  }
}

}  // namespace
}  // namespace fastnnunet::storage
