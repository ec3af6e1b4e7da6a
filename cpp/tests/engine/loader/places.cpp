// Files that are read from where the loader is told: copies that are removed for others, and parts of files.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "engine/cases.h"
#include "fastnnunet/engine/loader/loader.h"
#include "storage/parts.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

TEST_CASE("loader: a copy that was removed since it was opened is asked for again, and not waited for", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 2, 1);
  options.keep_blocks = false;
  const auto expected = take(*loader_of(options), 12);
  const TemporaryFolder folder;
  std::atomic<int> asked = 0;
  options.patience = std::chrono::seconds(0);
  options.places = [&](std::size_t number, int which) {
    const std::filesystem::path source = *cases.files()[number].volume(which).first;
    const std::filesystem::path copy = folder / (std::to_string(++asked) + source.filename().string());
    std::filesystem::copy_file(source, copy);
    return copy;
  };
  const auto loader = loader_of(options);
  for (std::size_t step = 0; step < expected.size(); ++step) {
    CHECK(take(*loader, 1)[0] == expected[step]);
    while (loader->statistics().ready_batches < 1) std::this_thread::yield();  // nobody reads now
    for (const auto& entry : std::filesystem::directory_iterator(folder / "")) std::filesystem::remove(entry.path());
  }
  CHECK(asked > 2 * 8 + 20);  // two threads, eight files
}

TEST_CASE("loader: of files that are there in parts, the same batches", "[engine]") {
  const Cases cases(4);
  LoaderOptions options = options_for(cases, 3, 2);
  options.cases = {cases.files()[1], cases.files()[3]};  // .b2nd
  const TemporaryFolder folder;
  for (const bool keep_blocks : {true, false}) {
    CAPTURE(keep_blocks);
    options.keep_blocks = keep_blocks;
    options.places = {};
    const auto expected = take(*loader_of(options), 8);
    std::map<std::pair<std::size_t, int>, std::unique_ptr<PartialFile>> files;
    for (std::size_t number = 0; number < options.cases.size(); ++number)
      for (const int which : {CaseFiles::kImage, CaseFiles::kSegmentation}) {
        const std::filesystem::path source = *options.cases[number].volume(which).first;
        files[{number, which}] = std::make_unique<PartialFile>(source, folder / source.filename());
      }
    options.places = [&](std::size_t number, int which) { return files.at({number, which})->place(); };
    CHECK(take(*loader_of(options), 8) == expected);
    for (const auto& [key, file] : files) CHECK(file->requests() > 0);
  }
}

}  // namespace
}  // namespace fastnnunet::engine
