#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

TEST_CASE("npz: every box of both members, stored and deflated, short and zip64") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  const auto data = ramp<float>({2, 19, 23, 17});
  const auto seg = ramp<std::int8_t>({1, 19, 23, 17});
  for (const bool compress : {false, true}) {
    for (const bool large : {false, true}) {
      CAPTURE(compress, large);
      write_file(path,
                 zip_bytes({{"data.npy", npy_bytes(data, "<f4")}, {"seg.npy", npy_bytes(seg, "|i1")}}, compress, large,
                           large ? "a comment with PK\x05\x06 in it, and so much behind it as a record has" : ""));
      check_volume(*open_volume(path, "data"), data);
      check_volume(*open_volume(path, "seg"), seg);
    }
  }
}

TEST_CASE("npz: archives of more than 4 GiB, of which some numbers fit and others do not") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  const auto data = ramp<float>({2, 9, 8, 7});
  const auto seg = ramp<std::int8_t>({1, 9, 8, 7});
  for (const bool compress : {false, true})
    for (const bool small_sizes : {false, true})
      for (const bool counted : {false, true}) {
        CAPTURE(compress, small_sizes, counted);
        Bytes archive = zip_bytes({{"data.npy", npy_bytes(data, "<f4")}, {"seg.npy", npy_bytes(seg, "|i1")}}, compress,
                                  true, "", small_sizes);
        // Two members can be counted, wherever their directory is.
        if (counted) archive.replace(archive.size() - 22 + 10, 2, number_bytes(2, 2));
        write_file(path, archive);
        check_volume(*open_volume(path, "data"), data);
        check_volume(*open_volume(path, "seg"), seg);
      }
}

TEST_CASE("npz: memory does not grow with the image") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  const auto data = ramp<float>({1, 64, 128, 128});
  write_file(path, zip_bytes({{"data.npy", npy_bytes(data, "<f4")}}, true, false));
  const auto volume = open_volume(path, "data");
  const std::uint64_t before = volume->bytes_read(), size = std::filesystem::file_size(path);
  CHECK(box_is_right<float>(*volume, data, 0, Box::of_shape({64, 128, 128})));
  CHECK(volume->bytes_read() - before > size * 9 / 10);
  CHECK(volume->bytes_read() - before <= size);
  CHECK(box_is_right<float>(*volume, data, 0, {{60, 100, 90}, {64, 110, 100}}));
  CHECK(box_is_right<float>(*volume, data, 0, {{0, 0, 0}, {4, 8, 8}}));
  CHECK(volume->memory() < 300'000);
  CHECK(volume->memory() > 64 * 1024 + 32 * 1024);  // the buffer of what is read, and zlib's window
}

TEST_CASE("npz: what cannot be read is said") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  const auto reason = [&](const Bytes& bytes, const std::string& member = "data") {
    write_file(path, bytes);
    return reason_of([&] { open_volume(path, member); });
  };
  const auto array = ramp<float>({1, 6, 7, 8});
  const Bytes npy = npy_bytes(array, "<f4");
  CHECK(contains(reason(zip_bytes({{"seg.npy", npy}, {"more.npy", npy}}, true, false)),
                 "expected a member data.npy, got members: seg.npy, more.npy"));
  CHECK(contains(reason(""), "truncated"));
  CHECK(contains(reason(npy), "not a zip archive"));
  const Bytes turned = npy_header(npy_dict("<f4", array.shape, true)) + bytes_of(array.values);
  CHECK(contains(reason(zip_bytes({{"data.npy", turned}}, true, false)), "got Fortran order"));
  CHECK(reason(zip_bytes({{"data.npy", turned}}, false, false)).empty());
  const Bytes cut = npy.substr(0, npy.size() - 4);
  CHECK(contains(reason(zip_bytes({{"data.npy", cut}}, true, false)), "bytes of voxels"));
  CHECK(contains(reason(zip_bytes({{"data.npy", cut}}, false, false)), "file is truncated"));
  Bytes encrypted = zip_bytes({{"data.npy", npy}}, true, false);
  encrypted[encrypted.find("PK\x01\x02") + 8] = 1;
  CHECK(contains(reason(encrypted), "encrypted"));
  Bytes other = zip_bytes({{"data.npy", npy}}, true, false);
  other[other.find("PK\x01\x02") + 10] = 12;
  CHECK(contains(reason(other), "got zip method 12"));
  Bytes headless = zip_bytes({{"data.npy", npy}}, true, false);
  headless[2] = 7;
  CHECK(contains(reason(headless), "the header of member data.npy cannot be read"));
  Bytes longer = zip_bytes({{"data.npy", npy}}, false, false);
  longer.replace(longer.find("PK\x01\x02") + 24, 4, number_bytes(npy.size() + 4, 4));
  CHECK(contains(reason(longer), "the sizes of member data.npy cannot be read"));
  // Each name is a beginning of another one.
  const Bytes names = zip_bytes({{"data.npy.npy", ""}, {"dat.npy", ""}, {"data.npy", npy}}, true, false);
  CHECK(reason(names).empty());
  CHECK(contains(reason(names, "da"), "expected a member da.npy, got members: data.npy.npy, dat.npy, data.npy"));
  for (const bool compress : {false, true}) {
    const Bytes whole = zip_bytes({{"data.npy", npy}}, compress, true);
    for (std::size_t size = 0; size < whole.size(); size += 5) CHECK(!reason(whole.substr(0, size)).empty());
  }
}

TEST_CASE("npz: deflated data that ends too early or is damaged") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  const auto array = ramp<float>({1, 30, 31, 32});
  Bytes archive = zip_bytes({{"data.npy", npy_bytes(array, "<f4")}}, true, false);
  std::vector<float> out(30 * 31 * 32);
  const auto read = [&] { open_volume(path, "data")->read(0, Box::of_shape(array.extent()), out.data(), 0.0f); };
  SECTION("fewer compressed bytes than the data needs") {
    const std::size_t directory = archive.find("PK\x01\x02");
    const Bytes less = number_bytes(2000, 4);
    archive.replace(directory + 20, 4, less);
    write_file(path, archive);
    CHECK(contains(reason_of(read), "damaged or truncated compressed data: it ends at byte"));
  }
  SECTION("fewer bytes than the header and the directory say") {
    const Bytes npy = npy_header(npy_dict("<f4", {1, 30, 31, 33})) + bytes_of(array.values);
    archive = zip_bytes({{"data.npy", npy}}, true, false);
    archive.replace(archive.find("PK\x01\x02") + 24, 4, number_bytes(npy.size() + 4 * 30 * 31, 4));
    write_file(path, archive);
    std::vector<float> more(30 * 31 * 33);
    auto volume = open_volume(path, "data");
    const auto reason = [&] {
      return reason_of([&] { volume->read(0, Box::of_shape(volume->shape()), more.data(), 0.0f); });
    };
    CHECK(contains(reason(), "damaged or truncated compressed data: it ends at byte " + std::to_string(npy.size())));
    // There are bytes behind, which are none of the data.
    const std::size_t place = archive.find("PK\x01\x02") + 20;
    archive.replace(place, 4, number_bytes(deflated(npy).size() + 20, 4));
    write_file(path, archive);
    volume = open_volume(path, "data");
    CHECK(contains(reason(), "it ends at byte " + std::to_string(npy.size())));
  }
  SECTION("bytes overwritten") {
    archive.replace(archive.find("data.npy") + 8, 64, Bytes(64, '\xff'));
    write_file(path, archive);
    CHECK(contains(reason_of(read), "damaged or truncated compressed data"));
  }
}

TEST_CASE("npz: a byte that deflate keeps as it is has another value") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  Array<std::uint8_t> array{{2, 12, 13, 14}, {}};
  std::uint32_t state = 1;
  for (int i = 0; i < 2 * 12 * 13 * 14; ++i)
    array.values.push_back(static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24));
  const Bytes good = zip_bytes({{"data.npy", npy_bytes(array, "|u1")}}, true, false);
  const std::size_t directory = good.find("PK\x01\x02");
  std::vector<std::int16_t> out(2 * 12 * 13 * 14);
  const Box all = Box::of_shape({12, 13, 14});
  const auto reason = [&] {
    return reason_of([&] { open_volume(path, "data")->read_channels(all, out.data(), std::int16_t{0}); });
  };
  write_file(path, good);
  CHECK(reason().empty());
  CHECK(reason_of([&] { open_volume(path, "data")->verify(); }).empty());
  // A bit of the code of a byte, in the second half: where it makes the code of another byte, all is inflated.
  bool found = false;
  for (std::size_t at = directory * 3 / 4; at < directory - 100 && !found; ++at) {
    Bytes archive = good;
    archive[at] = static_cast<char>(archive[at] ^ 1);
    write_file(path, archive);
    found = contains(reason(), "damaged or truncated compressed data: its CRC-32 is");
  }
  REQUIRE(found);
  CHECK(contains(reason_of([&] { open_volume(path, "data")->verify(); }), "CRC-32"));
  // What is before the damage, and does not go to the end, is as it was.
  CHECK(box_is_right<std::int16_t>(*open_volume(path, "data"), array, 0, {{0, 0, 0}, {4, 13, 14}}));
}

}  // namespace
}  // namespace fastnnunet::storage
