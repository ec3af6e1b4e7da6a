// Files give the same voxels whether they are mapped or copied, which is what Windows and old systems do with all of
// them.
#include "fastnnunet/storage/formats.h"
#include "storage/files.h"

namespace fastnnunet {
namespace {

using namespace testing;

template <typename T>
void check_every_format(const std::string& dtype) {
  CAPTURE(dtype);
  const TemporaryFolder folder;
  const auto array = ramp<T>({2, 19, 23, 17});
  write_b2nd(folder / "case.b2nd", array, dtype, {{1, 16, 16, 16}, {1, 8, 8, 16}});
  write_file(folder / "case.npy", npy_bytes(array, dtype));
  for (const bool deflated : {false, true})
    write_file(
        folder / (deflated ? "deflated.npz" : "stored.npz"),
        zip_bytes({{"other.npy", npy_bytes(array, dtype)}, {"data.npy", npy_bytes(array, dtype)}}, deflated, false));
  for (const FileAccess access : {FileAccess::prefer_mapped, FileAccess::copied}) {
    CAPTURE(access == FileAccess::copied);
    check_volume(*open_b2nd(folder / "case.b2nd", access), array);
    check_volume(*open_npy(folder / "case.npy", access), array);
    check_volume(*open_npz(folder / "stored.npz", "data", access), array);
    check_volume(*open_npz(folder / "deflated.npz", "data", access), array);
  }
}

TEST_CASE("access: every format gives the same voxels, mapped and copied") {
  check_every_format<float>("<f4");
  check_every_format<double>("<f8");
  check_every_format<std::int8_t>("|i1");
  check_every_format<std::uint8_t>("|u1");
  check_every_format<std::int16_t>("<i2");
}

TEST_CASE("access: Fortran's order, mapped and copied") {
  const TemporaryFolder folder;
  const auto array = ramp<float>({2, 5, 6, 7});
  Array<float> turned{array.shape, {}};
  for (std::int64_t z = 0; z < 7; ++z)
    for (std::int64_t y = 0; y < 6; ++y)
      for (std::int64_t x = 0; x < 5; ++x)
        for (std::int64_t c = 0; c < 2; ++c)
          turned.values.push_back(array.values[static_cast<std::size_t>(((c * 5 + x) * 6 + y) * 7 + z)]);
  write_file(folder / "case.npy", npy_header(npy_dict("<f4", array.shape, true)) + bytes_of(turned.values));
  for (const FileAccess access : {FileAccess::prefer_mapped, FileAccess::copied})
    check_volume(*open_npy(folder / "case.npy", access), array);
}

#ifdef __linux__

// The memory that the process has mapped of a file.
bool is_mapped(const std::filesystem::path& file) {
  return read_file("/proc/self/maps").find(std::filesystem::canonical(file).string()) != Bytes::npos;
}

TEST_CASE("access: a file that is to be copied is not mapped, whatever its format") {
  const TemporaryFolder folder;
  const auto array = ramp<float>({1, 9, 10, 11});
  write_b2nd(folder / "case.b2nd", array, "<f4", {{1, 8, 8, 8}, {1, 4, 4, 8}});
  write_file(folder / "case.npy", npy_bytes(array, "<f4"));
  write_file(folder / "case.npz", zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, false, false));
  for (const FileAccess access : {FileAccess::prefer_mapped, FileAccess::copied}) {
    const bool mapped = InputFile(folder / "case.npy", access).mapped();
    CHECK((access == FileAccess::prefer_mapped || !mapped));
    const auto compressed = open_b2nd(folder / "case.b2nd", access);
    const auto plain = open_npy(folder / "case.npy", access);
    const auto stored = open_npz(folder / "case.npz", "data", access);
    for (const char* name : {"case.b2nd", "case.npy", "case.npz"}) {
      CAPTURE(name);
      CHECK(is_mapped(folder / name) == mapped);
    }
  }
}

#endif

}  // namespace
}  // namespace fastnnunet
