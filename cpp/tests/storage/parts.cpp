// Of a file that is there in parts, what a box needs is fetched, with two requests, and nothing else is.
#include "storage/parts.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/formats.h"
#include "message.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

// Values that hardly compress, so that blocks have their share of the file.
Array<float> noise(std::vector<std::int64_t> shape) {
  Array<float> array = ramp<float>(std::move(shape));
  std::uint32_t state = 1;
  for (float& value : array.values) value = static_cast<float>((state = state * 1664525 + 1013904223) >> 17);
  return array;
}

TEST_CASE("parts: boxes are read with two requests each, for little more than their blocks", "[storage]") {
  const TemporaryFolder folder;
  const auto array = noise({2, 48, 40, 56});
  write_b2nd(folder / "source.b2nd", array, "<f4", {{1, 24, 16, 32}, {1, 8, 8, 16}});
  PartialFile file(folder / "source.b2nd", folder / "case.b2nd");
  const auto volume = open_volume(file.place(), "");
  CHECK(volume->content() == 7);
  const std::size_t opened = file.requests();
  const std::uint64_t of_opening = file.bytes();
  CHECK(of_opening < file.size() / 50);

  const Box box{{7, 9, 10}, {17, 15, 30}};  // 3 x 1 x 2 of 6 x 5 x 3.5 blocks of each channel, of one chunk
  volume->fetch(box);
  CHECK(file.requests() == opened + 2);
  const double blocks = static_cast<double>(file.size()) * 6 / 105;
  CHECK(static_cast<double>(file.bytes() - of_opening) > 0.8 * blocks);
  CHECK(static_cast<double>(file.bytes() - of_opening) < 1.2 * blocks);
  for (std::int64_t channel = 0; channel < 2; ++channel) CHECK(box_is_right<float>(*volume, array, channel, box));
  // What is there is requested no more, not by another handle either.
  volume->fetch(box);
  CHECK(box_is_right<float>(*open_volume(file.place(), ""), array, 1, box));
  CHECK(file.requests() == opened + 2);
  // Without a word before, reading fetches, too; and boxes beyond the image need nothing for what is outside.
  const Box other{{-3, 20, 30}, {5, 50, 60}};
  CHECK(box_is_right<float>(*volume, array, 0, other));
  const std::size_t before = file.requests();
  volume->fetch({{100, 0, 0}, {120, 8, 8}});
  CHECK(file.requests() == before);
  check_volume(*volume, array);
  CHECK(file.bytes() < file.size() + file.size() / 4);
}

TEST_CASE("parts: every kind of chunk", "[storage]") {
  const TemporaryFolder folder;
  auto array = noise({1, 32, 16, 16});
  // A chunk of zeros, one of another value, and two that are not compressed, where the level is 0.
  const auto chunk = array.values.begin() + 8 * 16 * 16;
  std::fill(array.values.begin(), chunk, 0.0f);
  std::fill(chunk, chunk + 8 * 16 * 16, 3.5f);
  for (const int level : {0, 5}) {
    CAPTURE(level);
    Compression compression{{1, 8, 16, 16}, {1, 4, 8, 16}};
    compression.level = level;
    write_b2nd(folder / "source.b2nd", array, "<f4", compression);
    PartialFile file(folder / "source.b2nd", folder / "case.b2nd");
    const auto volume = open_volume(file.place(), "");
    for (std::int64_t x = 0; x < 32; x += 6) {
      const Box box{{x, 2, 3}, {x + 8, 9, 14}};
      volume->fetch(box);
      const std::size_t before = file.requests();
      CHECK(box_is_right<float>(*volume, array, 0, box));
      CHECK(file.requests() == before);
    }
  }
}

TEST_CASE("parts: a file that was made anew is opened again, and one that lacks what was fetched is an error",
          "[storage]") {
  const TemporaryFolder folder;
  const auto array = noise({1, 24, 24, 24});
  const Box box{{4, 4, 4}, {12, 12, 12}};
  write_b2nd(folder / "source.b2nd", array, "<f4", {{1, 24, 24, 24}, {1, 8, 8, 8}});
  PartialFile file(folder / "source.b2nd", folder / "case.b2nd");
  const auto volume = open_volume(file.place(), "");
  volume->content();
  volume->fetch(box);
  // Written parts are no change of the file.
  volume->check();
  const std::size_t before = file.requests();
  std::filesystem::rename(folder / "case.b2nd", folder / "old.b2nd");
  file.clear();
  volume->fetch(box);
  CHECK(file.requests() > before);
  CHECK(box_is_right<float>(*volume, array, 0, box));

  // Nobody brings what was asked for.
  PartialFile other(folder / "source.b2nd", folder / "other.b2nd");
  FilePlace nothing = other.place();
  nothing.parts->fetch = [](const std::vector<ByteRange>&) {};
  CHECK(has(message_of([&] { open_volume(nothing, ""); }), "replaced while parts of it were fetched"));
  // Only blocks can be read in parts; of what is whole, the content is what it is said to be.
  FilePlace numpy = other.place();
  numpy.path = folder / "case.npy";
  CHECK_THROWS_AS(open_volume(numpy, ""), InvalidArgument);
  FilePlace whole = FilePlace(folder / "source.b2nd", FileParts{file.size(), PartialFile::kPiece, 7, {}});
  const auto copy = open_volume(whole, "");
  CHECK(copy->content() == 7);
  check_volume(*copy, array);
}

}  // namespace
}  // namespace fastnnunet::storage
