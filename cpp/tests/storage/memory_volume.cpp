#include "fastnnunet/storage/memory_volume.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "message.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

// Two channels of 3 x 4 x 5 voxels that tell where they are; along Z from the last to the first.
MemoryArray numbers(const std::shared_ptr<std::vector<std::int32_t>>& voxels) {
  voxels->resize(2 * 3 * 4 * 5);
  std::iota(voxels->begin(), voxels->end(), 0);
  MemoryArray array;
  array.data = reinterpret_cast<const std::byte*>(voxels->data() + 4);
  array.element = Element::int32;
  array.channels = 2;
  array.shape = {3, 4, 5};
  array.steps = {240, 80, 20, -4};
  array.owner = voxels;
  return array;
}

TEST_CASE("memory volume: boxes of an array with any steps, as floats and as labels", "[storage]") {
  const auto voxels = std::make_shared<std::vector<std::int32_t>>();
  const MemoryFile file("image of case a", numbers(voxels));
  const auto volume = open_volume(file.path(), "data");
  CHECK(volume->channels() == 2);
  CHECK(volume->shape() == Index3{3, 4, 5});
  CHECK_FALSE(volume->tiling().has_value());
  const Box box{{-1, 2, 3}, {2, 4, 7}};
  std::vector<float> image(2 * 3 * 2 * 4);
  std::vector<std::int16_t> labels(3 * 2 * 4);
  volume->read_channels(box, image.data(), -7.0f);
  volume->read(1, box, labels.data(), -1);
  for (std::int64_t c = 0; c < 2; ++c)
    for (std::int64_t x = -1; x < 2; ++x)
      for (std::int64_t y = 2; y < 4; ++y)
        for (std::int64_t z = 3; z < 7; ++z) {
          const bool inside = x >= 0 && z < 5;
          const std::int64_t value = c * 60 + x * 20 + y * 5 + 4 - z;
          const auto at = static_cast<std::size_t>((((c * 3) + x + 1) * 2 + y - 2) * 4 + z - 3);
          CHECK(image[at] == (inside ? static_cast<float>(value) : -7.0f));
          if (c == 1) CHECK(labels[at - 24] == (inside ? value : -1));
        }
  CHECK(message_of([&] { volume->read(2, box, labels.data(), -1); }).find("a channel of 0 to 1") != std::string::npos);
  std::vector<float> part(1000, -1.0f);
  volume->read_channels({{1, 1, 1}, {2, 2, 3}}, part.data() + 3, {100, 50, 10});
  CHECK(part[3] == 28.0f);
  CHECK(part[4] == 27.0f);
  CHECK(part[103] == 88.0f);
  CHECK(part[5] == -1.0f);
}

TEST_CASE("memory volume: it ends with its array, and names are never used again", "[storage]") {
  auto voxels = std::make_shared<std::vector<std::int32_t>>();
  auto file = std::make_unique<MemoryFile>("labels of case a", numbers(voxels));
  const std::string path = file->path();
  const auto volume = open_volume(path, "seg");
  const MemoryFile another("labels of case a", numbers(voxels));
  CHECK(another.path() != path);
  CHECK(voxels.use_count() == 3);
  file.reset();
  CHECK(voxels.use_count() == 2);
  std::vector<float> image(60);
  CHECK(message_of([&] { volume->read(0, Box::of_shape({3, 4, 5}), image.data(), 0); }).find("loader is gone") !=
        std::string::npos);
  CHECK(message_of([&] { open_volume(path, "seg"); }).find("expected a file that ends in") != std::string::npos);
}

}  // namespace
}  // namespace fastnnunet::storage
