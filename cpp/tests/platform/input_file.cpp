#include "fastnnunet/platform/input_file.h"

#include <cstdint>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "platform/folder.h"

namespace fastnnunet::platform {
namespace {

using testing::Folder;

TEST_CASE("platform: bytes of a file") {
  const Folder folder;
  folder.write("file", "0123456789");
  std::vector<std::byte> scratch;
  {
    const InputFile file(folder.path() / "file");
    CHECK(file.size() == 10);
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
  CHECK_THROWS_AS(InputFile(folder.path()), StorageError);
  CHECK_THROWS_AS(InputFile(folder.path() / "missing"), StorageError);
  folder.write("empty", "");
  CHECK(InputFile(folder.path() / "empty").size() == 0);
}

}  // namespace
}  // namespace fastnnunet::platform
