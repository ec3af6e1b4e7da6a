#include "fastnnunet/platform/input_file.h"

#ifndef _WIN32
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "catch.h"
#include "fastnnunet/base/error.h"
#include "message.h"
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
  CHECK_FALSE(stamp_of(folder.path() / "missing"));
  CHECK(stamp_of(folder.path() / "empty").value().size == 0);
}

// Long enough that the pieces of the content that are looked at do not meet.
std::string text_of(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 7;
  for (char& byte : text) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

TEST_CASE("platform: the content of a file changes with its beginning, its end and what is between") {
  const Folder folder;
  const auto content = [&](const std::string& text) {
    folder.write("file", text);
    return InputFile(folder.path() / "file").content();
  };
  constexpr std::size_t kAll = 4096 + 16 * 4096 + 16384;
  for (const std::size_t size : {std::size_t{1}, std::size_t{16384}, std::size_t{16385}, kAll - 1, kAll, kAll + 1,
                                 std::size_t{100'000}, std::size_t{1'000'000}}) {
    CAPTURE(size);
    const std::string text = text_of(size);
    const std::uint64_t before = content(text);
    CHECK(content(text) == before);
    CHECK(content(text + "x") != before);
    // Single bytes of what every format has its table of contents in.
    for (const std::size_t at :
         {std::size_t{0}, std::min<std::size_t>(size, 4096) - 1, size - 1, size - std::min<std::size_t>(size, 16384)}) {
      std::string other = text;
      other[at] = static_cast<char>(other[at] ^ 1);
      CHECK(content(other) != before);
    }
    // Any fifteenth of the rest.
    for (std::size_t part = 0; part < 15; ++part) {
      std::string other = text;
      for (std::size_t at = part * size / 15; at < (part + 1) * size / 15 && at < size; ++at) other[at] ^= 1;
      CHECK((content(other) != before || other == text));
    }
  }
}

TEST_CASE("platform: a file that was moved is read where it is now") {
  const Folder folder;
  const auto path = folder.path() / "file", old = folder.path() / "old";
  folder.write("file", "0123456789");
  InputFile file(path);
  const std::uint64_t content = file.content();
  std::filesystem::rename(path, old);
  folder.write("file", "0123456789");
  CHECK_FALSE(file.current());
  // Nothing is known of what it was, or something else.
  CHECK_THROWS_AS(file.reopen(std::nullopt), StorageError);
  CHECK_THROWS_AS(file.reopen(content + 1), StorageError);
  CHECK_FALSE(file.current());
  file.reopen(content);
  CHECK(file.current());
  folder.write("old", "garbage...");
  char three[3];
  file.read(4, three, 3);
  CHECK(std::string(three, 3) == "456");
}

// A folder and a file each, in UTF-8: spaces, other scripts, and what is longer than Windows' 260 characters and
// shorter than the 255 bytes of a name.
TEST_CASE("platform: a file is found by any name") {
  const Folder folder;
  const std::string part(120, 'p');
  for (const std::string& name : {std::string("a folder/a file .b2nd"), std::string("Präparat/Müller.npy"),
                                  std::string("данные/случай.npz"), std::string("症例/画像.b2nd"),
                                  std::string("a.b.c/.b2nd"), part + "/" + part + "/" + part + "/" + part + "/ä.npy"}) {
    CAPTURE(name);
    const std::filesystem::path path = folder.path() / std::filesystem::path(std::u8string(name.begin(), name.end()));
    folder.write(path, "0123456789");
    const InputFile file(path);
    CHECK(file.name() == utf8(path));
    CHECK(file.size() == 10);
    CHECK(file.current());
    char two[2];
    file.read(8, two, 2);
    CHECK(std::string(two, 2) == "89");
    CHECK(stamp_of(path) == file.stamp());
    // Of the folder, which is no file, and of its neighbour, which is not there.
    CHECK(testing::has(testing::message_of([&] { InputFile other(path.parent_path()); }), "is a directory"));
    CHECK_FALSE(stamp_of(path.parent_path() / "missing"));
  }
}

TEST_CASE("platform: a file that is deleted while it is open is read to its end") {
  const Folder folder;
  const auto path = folder.path() / "file";
  folder.write("file", "0123456789");
  InputFile file(path);
  const std::uint64_t content = file.content();
  REQUIRE(std::filesystem::remove(path));
  char three[3];
  file.read(4, three, 3);
  CHECK(std::string(three, 3) == "456");
  // Windows may keep the name until the last handle is closed.
  if (!std::filesystem::exists(path)) {
    CHECK_THROWS_AS(file.current(), StorageError);
    CHECK_THROWS_AS(file.reopen(content), StorageError);
  }
  file.read(7, three, 3);
  CHECK(std::string(three, 3) == "789");
}

// Of a file that is mapped, Windows would refuse it.
TEST_CASE("platform: a file that ends while it is read is an error") {
  const Folder folder;
  folder.write("file", "0123456789");
  const InputFile file(folder.path() / "file");
  std::filesystem::resize_file(folder.path() / "file", 7);
  char all[10];
  CHECK(testing::has(testing::message_of([&] { file.read(0, all, 10); }), "file is truncated: it ends at byte 7"));
  CHECK(std::string(all, 7) == "0123456");
}

#ifdef _WIN32

TEST_CASE("platform: long paths are written in full, on servers too") {
  const std::wstring part(120, L'p');
  const std::wstring end = part + LR"(\)" + part + LR"(\)" + part;
  CHECK(system_path(LR"(C:\folder\file)") == LR"(C:\folder\file)");
  CHECK(system_path(LR"(C:\)" + end).native() == LR"(\\?\C:\)" + end);
  CHECK(system_path(LR"(C:\folder\..\)" + end).native() == LR"(\\?\C:\)" + end);
  CHECK(system_path(LR"(C:/)" + end).native() == LR"(\\?\C:\)" + end);
  CHECK(system_path(LR"(\\server\share\)" + end).native() == LR"(\\?\UNC\server\share\)" + end);
  CHECK(system_path(LR"(\\?\C:\)" + end).native() == LR"(\\?\C:\)" + end);
}

TEST_CASE("platform: a device is no file") {
  CHECK(testing::has(testing::message_of([] { InputFile file("NUL"); }), "is not a regular file"));
}

#else

TEST_CASE("platform: what is no file is refused at once, and leaves nothing open") {
  const Folder folder;
  const auto pipe = folder.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  // The lowest number that is free, which the next file gets.
  const auto next = [] {
    const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(number);
    return number;
  };
  const int before = next();
  CHECK(testing::has(testing::message_of([&] { InputFile file(pipe); }), "is not a regular file"));
  CHECK(testing::has(testing::message_of([&] { InputFile file("/dev/null"); }), "is not a regular file"));
  CHECK(testing::has(testing::message_of([&] { InputFile file(folder.path()); }), "is a directory"));
  CHECK(next() == before);
  folder.write("file", "0123456789");
  {
    const InputFile file(folder.path() / "file");
    CHECK(next() == before + 1);
    // Programs that the user starts do not hold it.
    CHECK((::fcntl(before, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(next() == before);
}

#endif

}  // namespace
}  // namespace fastnnunet::platform
