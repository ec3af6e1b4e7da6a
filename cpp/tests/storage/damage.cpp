// Files with wrong bytes: whatever they say, reading ends in voxels or in a StorageError.
#include <random>

#include "fastnnunet/storage/formats.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

int errors_of_damage(const std::filesystem::path& path, const Bytes& whole, int trials, std::size_t first,
                     std::size_t last, const std::function<std::unique_ptr<Volume>()>& open) {
  std::mt19937 random(20240607);
  int errors = 0;
  for (int trial = 0; trial < trials; ++trial) {
    Bytes bytes = whole;
    const int flips = 1 + static_cast<int>(random() % 3);
    for (int flip = 0; flip < flips; ++flip) {
      char& byte = bytes[first + random() % (last - first)];
      byte = static_cast<char>(random() % 4 == 0 ? random() : static_cast<unsigned char>(byte) ^ (1u << random() % 8));
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    write_file(path, bytes);
    try {
      const auto volume = open();
      // What a damaged header claims to be large is read at its corners only.
      Box box;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        box.upper[axis] = volume->shape()[axis];
        box.lower[axis] = std::max<std::int64_t>(box.upper[axis] - 48, 0);
      }
      std::vector<float> out(static_cast<std::size_t>(voxels(box.shape())));
      std::vector<std::int16_t> labels(out.size());
      volume->read(0, box, out.data(), 0.0f);
      volume->read(volume->channels() - 1, box, labels.data(), std::int16_t{-1});
    } catch (const StorageError&) {
      ++errors;
    }
  }
  return errors;
}

TEST_CASE("damage: .b2nd with wrong bytes") {
  TemporaryFolder folder;
  const auto path = folder / "case.b2nd";
  const auto array = ramp<float>({2, 30, 31, 32});
  for (const int codec : {BLOSC_LZ4HC, BLOSC_ZSTD, BLOSC_BLOSCLZ, BLOSC_ZLIB}) {
    write_b2nd(path, array, "<f4", {{1, 16, 20, 32}, {1, 8, 8, 16}, codec, 5, BLOSC_SHUFFLE});
    const Bytes whole = read_file(path);
    const auto open = [&] { return open_b2nd(path); };
    CHECK(errors_of_damage(path, whole, 150, 0, whole.size(), open) > 10);
    // The header and the first chunks' own headers, the index and the trailer: where a wrong byte means most.
    CHECK(errors_of_damage(path, whole, 250, 0, 700, open) > 50);
    CHECK(errors_of_damage(path, whole, 150, whole.size() - 300, whole.size(), open) > 10);
  }
  BloscWriter::require(0);
  {
    const Compression compression = {{1, 16, 20, 32}, {1, 8, 8, 16}};
    BloscWriter writer(path, array.shape, "<f4", 4, compression);
    const float value = 2.0f;
    BloscWriter::require(b2nd_full(writer.context(), &writer.array, &value));
  }
  const Bytes constant = read_file(path);
  CHECK(errors_of_damage(path, constant, 400, 0, constant.size(), [&] { return open_volume(path, ""); }) > 50);
}

TEST_CASE("damage: .npy with wrong bytes") {
  TemporaryFolder folder;
  const auto path = folder / "case.npy";
  const Bytes whole = npy_bytes(ramp<float>({2, 10, 11, 12}), "<f4");
  CHECK(errors_of_damage(path, whole, 600, 0, 128, [&] { return open_volume(path, ""); }) > 100);
}

TEST_CASE("damage: .npz with wrong bytes") {
  TemporaryFolder folder;
  const auto path = folder / "case.npz";
  const Bytes npy = npy_bytes(ramp<float>({2, 10, 11, 12}), "<f4");
  for (const bool compress : {false, true}) {
    const Bytes whole = zip_bytes({{"data.npy", npy}, {"seg.npy", npy}}, compress, true);
    const auto open = [&] { return open_volume(path, "data"); };
    CHECK(errors_of_damage(path, whole, 500, 0, whole.size(), open) > 20);
    CHECK(errors_of_damage(path, whole, 500, whole.size() - 350, whole.size(), open) > 100);
  }
}

}  // namespace
}  // namespace fastnnunet::storage
