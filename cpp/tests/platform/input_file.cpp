#include "fastnnunet/platform/input_file.h"

#include <cstdint>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/machine.h"
#include "platform/folder.h"

namespace fastnnunet {
namespace {

using testing::Folder;

TEST_CASE("platform: bytes of a file, mapped and copied") {
  const Folder folder;
  folder.write("file", "0123456789");
  std::vector<std::byte> scratch;
  for (const FileAccess access : {FileAccess::prefer_mapped, FileAccess::copied}) {
    const InputFile file(folder.path() / "file", access);
    CHECK(file.size() == 10);
    CHECK(file.mapped() == (access == FileAccess::prefer_mapped));
    CHECK(static_cast<char>(file.bytes(3, 4, scratch)[0]) == '3');
    char two[2];
    file.read(8, two, 2);
    CHECK(std::string(two, 2) == "89");
    CHECK_NOTHROW(file.bytes(10, 0, scratch));
    CHECK_THROWS_AS(file.bytes(9, 2, scratch), StorageError);
    CHECK_THROWS_AS(file.bytes(11, 0, scratch), StorageError);
    CHECK_THROWS_AS(file.read(~std::uint64_t{0}, two, 2), StorageError);
    CHECK(file.current());
  }
  CHECK_THROWS_AS(InputFile(folder.path(), FileAccess::prefer_mapped), StorageError);
  CHECK_THROWS_AS(InputFile(folder.path() / "missing", FileAccess::copied), StorageError);
  folder.write("empty", "");
  CHECK(InputFile(folder.path() / "empty", FileAccess::prefer_mapped).size() == 0);
}

#ifdef __linux__

TEST_CASE("platform: what was read of a mapped file goes out of memory and can be read again") {
  constexpr std::size_t kSize = std::size_t{32} << 20, kMost = std::size_t{8} << 20;
  const Folder folder;
  folder.write("file", std::string(kSize, 'x'));
  std::vector<std::byte> scratch;
  const InputFile file(folder.path() / "file", FileAccess::prefer_mapped);
  REQUIRE(file.mapped());
  const std::uint64_t before = resident_memory();
  file.prepare(0, kSize);
  CHECK(resident_memory() + kMost >= before + kSize);
  const std::byte* const bytes = file.bytes(kSize - 1, 1, scratch);
  file.let_go();
  CHECK(resident_memory() <= before + kMost);
  CHECK(static_cast<char>(*bytes) == 'x');
}

#endif

}  // namespace
}  // namespace fastnnunet
