// The corpus of the fuzzers (cpp/fuzz), file by file: what was found once stays found where there is no libFuzzer.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "fuzz/read_bytes.h"
#include "storage/files.h"

namespace fastnnunet::storage {
namespace {

using namespace testing;

void replay(const std::string& format, bool (*read)(std::string_view)) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(FASTNNUNET_CORPUS) / format)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  int good = 0;
  int bad = 0;
  for (const auto& file : files) {
    CAPTURE(file.filename().string());
    const std::string name = file.filename().string();
    const bool whole = read(read_file(file));
    if (name.rfind("good_", 0) == 0) {
      ++good;
      CHECK(whole);
    } else if (name.rfind("bad_", 0) == 0) {
      ++bad;
      CHECK_FALSE(whole);
    } else {
      CHECK(name.rfind("found_", 0) == 0);  // to be survived
    }
  }
  CHECK(good >= 4);
  CHECK(bad >= 15);
}

TEST_CASE("corpus: .b2nd") { replay("b2nd", fuzzing::read_b2nd); }
TEST_CASE("corpus: .npy") { replay("npy", fuzzing::read_npy); }
TEST_CASE("corpus: .npz") { replay("npz", fuzzing::read_npz); }

}  // namespace
}  // namespace fastnnunet::storage
