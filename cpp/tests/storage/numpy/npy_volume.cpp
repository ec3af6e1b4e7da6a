#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

TEST_CASE("npy: every box, in every version of the header") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const auto array = ramp<float>({2, 11, 13, 17});
  for (const int version : {1, 2, 3}) {
    write_file(path, npy_bytes(array, "<f4", version));
    check_volume(*open_volume(path, ""), array);
  }
}

template <typename T>
void check_type(const std::string& dtype) {
  CAPTURE(dtype);
  TemporaryFolder folder;
  const auto path = folder / "case_seg.npy";
  const auto array = ramp<T>({7, 8, 9});
  write_file(path, npy_bytes(array, dtype));
  const auto volume = open_volume(path, "");
  check_volume(*volume, array);
  CHECK(volume->bytes_read() > 0);
}

TEST_CASE("npy: types of voxels") {
  check_type<float>("<f4");
  check_type<double>("<f8");
  check_type<std::int8_t>("|i1");
  check_type<std::uint8_t>("|u1");
  check_type<std::int16_t>("<i2");
  check_type<std::uint16_t>("<u2");
  check_type<std::int32_t>("<i4");
  check_type<std::uint32_t>("<u4");
  check_type<std::int64_t>("<i8");
  check_type<std::uint64_t>("<u8");
}

TEST_CASE("npy: Fortran order") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const auto array = ramp<std::int16_t>({2, 5, 6, 7});
  std::vector<std::int16_t> turned;
  for (std::int64_t z = 0; z < 7; ++z) {
    for (std::int64_t y = 0; y < 6; ++y) {
      for (std::int64_t x = 0; x < 5; ++x) {
        for (std::int64_t c = 0; c < 2; ++c) turned.push_back(array.at(c, x, y, z));
      }
    }
  }
  write_file(path, npy_header(npy_dict("<i2", array.shape, true)) + bytes_of(turned));
  check_volume(*open_volume(path, ""), array);
}

TEST_CASE("npy: rows that are longer than what is read along with others") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const auto array = ramp<float>({2, 3, 4, 6000});
  write_file(path, npy_bytes(array, "<f4"));
  const auto volume = open_volume(path, "");
  check_volume(*volume, array);
  const std::uint64_t before = volume->bytes_read();
  CHECK(box_is_right<float>(*volume, array, 1, {{0, 0, 100}, {3, 4, 200}}));
  CHECK(volume->bytes_read() - before == 3 * 4 * 100 * sizeof(float));
  std::vector<float> out(2 * 3 * 4 * 100);
  volume->read_channels({{0, 0, 100}, {3, 4, 200}}, out.data(), 0.0f);
  CHECK(volume->bytes_read() - before == 3 * 3 * 4 * 100 * sizeof(float));
}

TEST_CASE("npy: headers that NumPy and others write") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const auto array = ramp<float>({2, 3, 4, 5});
  for (const std::string dict : {"{\"shape\": (2,3,4,5), \"fortran_order\":False,\"descr\":\"<f4\"}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L, 4L, 5L,), }\n"}) {
    write_file(path, npy_header(dict) + bytes_of(array.values));
    check_volume(*open_volume(path, ""), array);
  }
}

TEST_CASE("npy: what cannot be read is said") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const auto reason = [&](const Bytes& bytes) {
    write_file(path, bytes);
    return reason_of([&] { open_volume(path, ""); });
  };
  const Bytes data(4 * 24, '\0');
  CHECK(contains(reason(npy_header(npy_dict(">f4", {2, 3, 4})) + data), "got dtype '>f4'"));
  CHECK(contains(reason(npy_header(npy_dict("|O", {2, 3, 4})) + data), "got dtype '|O'"));
  CHECK(contains(reason(npy_header(npy_dict("<f4", {24})) + data), "got shape (24)"));
  CHECK(contains(reason(npy_header(npy_dict("<f4", {2, 0, 4})) + data), "got shape (2, 0, 4)"));
  CHECK(contains(reason(npy_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3, 4)}") + data),
                 "a plain dtype"));
  for (const std::string dict : {"", "{", "{'descr': '<f4'", "{'descr': '<f4', 'fortran_order': False}",
                                 "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3, 4)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3, 4)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4)} or 1",
                                 "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), 'shape': (4, 3, 2)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3, 4)}"}) {
    CAPTURE(dict);
    CHECK(contains(reason(npy_header(dict) + data), "damaged .npy header"));
  }
  CHECK(contains(reason(npy_header(npy_dict("<f4", {1ll << 31, 1ll << 31, 1ll << 31})) + data), "memory can hold"));
  CHECK(contains(reason("\x93NUMPY\x04" + Bytes(100, '\0')), "got 4"));
  CHECK(contains(reason("\x93NUM"), "is not an .npy file"));
  CHECK(contains(reason("\x93NUMPZ" + npy_header(npy_dict("<f4", {2, 3, 4})).substr(6) + data), "is not an .npy file"));
  CHECK(contains(reason(""), "is not an .npy file"));
  CHECK(contains(reason(Bytes("\x93NUMPY\x02\0\xff\xff\xff\xff", 12) + data), "damaged .npy header"));
}

TEST_CASE("npy: a truncated file says what it should have and what it has") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const Bytes whole = npy_bytes(ramp<float>({1, 10, 10, 10}), "<f4");
  write_file(path, whole.substr(0, whole.size() - 1));
  CHECK(reason_of([&] { open_volume(path, ""); }) == "file is truncated: header says " + std::to_string(whole.size()) +
                                                         " bytes, file has " + std::to_string(whole.size() - 1));
  for (std::size_t size = 0; size < 200; size += 7) {
    write_file(path, whole.substr(0, size));
    CHECK(!reason_of([&] { open_volume(path, ""); }).empty());
  }
}

}  // namespace
}  // namespace fastnnunet::storage
