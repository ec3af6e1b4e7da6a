// The formats give the same voxels.
#include "fastnnunet/storage/formats.h"
#include "storage/files.h"

namespace fastnnunet::storage {
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
  check_volume(*open_b2nd(folder / "case.b2nd"), array);
  check_volume(*open_npy(folder / "case.npy"), array);
  check_volume(*open_npz(folder / "stored.npz", "data"), array);
  check_volume(*open_npz(folder / "deflated.npz", "data"), array);
}

TEST_CASE("access: every format gives the same voxels") {
  check_every_format<float>("<f4");
  check_every_format<double>("<f8");
  check_every_format<std::int8_t>("|i1");
  check_every_format<std::uint8_t>("|u1");
  check_every_format<std::int16_t>("<i2");
}

TEST_CASE("access: Fortran's order") {
  const TemporaryFolder folder;
  const auto array = ramp<float>({2, 5, 6, 7});
  Array<float> turned{array.shape, {}};
  for (std::int64_t z = 0; z < 7; ++z)
    for (std::int64_t y = 0; y < 6; ++y)
      for (std::int64_t x = 0; x < 5; ++x)
        for (std::int64_t c = 0; c < 2; ++c)
          turned.values.push_back(array.values[static_cast<std::size_t>(((c * 5 + x) * 6 + y) * 7 + z)]);
  write_file(folder / "case.npy", npy_header(npy_dict("<f4", array.shape, true)) + bytes_of(turned.values));
  check_volume(*open_npy(folder / "case.npy"), array);
}

#ifdef __linux__

// Bytes that this process has asked the system for.
std::uint64_t bytes_asked_for() {
  const Bytes text = read_file("/proc/self/io");
  return std::stoull(std::string(text.begin(), text.end()).substr(std::string("rchar: ").size()));
}

TEST_CASE("access: a small box of a large .npy takes few bytes of the file, in either order") {
  const TemporaryFolder folder;
  const std::vector<float> voxels(96 * 96 * 96, 1.0f);
  const auto check = [&](const std::vector<std::int64_t>& shape, bool fortran_order) {
    CAPTURE(shape, fortran_order);
    write_file(folder / "case.npy", npy_header(npy_dict("<f4", shape, fortran_order)) + bytes_of(voxels));
    const auto volume = open_npy(folder / "case.npy");
    std::vector<float> out(8 * 8 * 8);
    const Box box{{shape[1] / 3, 2, 40}, {shape[1] / 3 + 8, 10, 48}};
    volume->read(0, Box::of_shape({8, 8, 8}), out.data(), 0.0f);
    const std::uint64_t before = bytes_asked_for();
    volume->read(0, box, out.data(), 0.0f);
    CHECK(bytes_asked_for() - before < 64 * 1024);
  };
  check({1, 96, 96, 96}, false);
  check({1, 96, 96, 96}, true);
  // Its rows are long, and far apart.
  check({1, 8, 12, 9216}, false);
}

#endif

}  // namespace
}  // namespace fastnnunet::storage
