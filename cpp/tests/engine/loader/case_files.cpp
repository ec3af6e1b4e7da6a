#include "fastnnunet/engine/loader/case_files.h"

#include "catch.h"
#include "message.h"
#include "platform/folder.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

TEST_CASE("case files: those of a folder, as nnU-Net names them", "[engine]") {
  const Folder folder;
  for (const char* name : {"b.b2nd", "b_seg.b2nd", "b.pkl", "a.npz", "c.npz", "c.npy", "c_seg.npy", "d_seg.npy",
                           "d_seg_seg.npy", "e.npy", "e.npz", "notes.txt", "\xC3\xA4.npz"})
    folder.write(std::filesystem::path(std::u8string(name, name + std::string(name).size())), "");
  const auto cases = find_cases(folder.path());
  REQUIRE(cases.size() == 6);
  const auto check = [&](std::size_t number, const std::string& name, const std::string& image,
                         const std::string& labels) {
    CAPTURE(name);
    CHECK(cases[number].name == name);
    CHECK(cases[number].image == folder.path() / std::filesystem::path(std::u8string(image.begin(), image.end())));
    CHECK(cases[number].segmentation ==
          folder.path() / std::filesystem::path(std::u8string(labels.begin(), labels.end())));
  };
  check(0, "a", "a.npz", "a.npz");
  check(1, "b", "b.b2nd", "b_seg.b2nd");
  check(2, "c", "c.npy", "c_seg.npy");  // unpacked, before what it was unpacked from
  check(3, "d_seg", "d_seg.npy", "d_seg_seg.npy");
  check(4, "e", "e.npy", "e.npz");  // the labels were not unpacked
  check(5, "\xC3\xA4", "\xC3\xA4.npz", "\xC3\xA4.npz");
}

TEST_CASE("case files: a folder that is not there, and a case without labels", "[engine]") {
  const Folder folder;
  CHECK(find_cases(folder.path()).empty());
  CHECK(has(message_of([&] { find_cases(folder.path() / "none"); }), "none] expected a folder that can be read, got "));
  folder.write("lonely.b2nd", "");
  CHECK(has(message_of([&] { find_cases(folder.path()); }),
            "lonely_seg.b2nd] expected the segmentation of case lonely, got no such file"));
}

TEST_CASE("case files: images without labels have no segmentation where none is asked for", "[engine]") {
  const Folder folder;
  for (const char* name : {"a.b2nd", "a_seg.b2nd", "b.b2nd", "c.npy", "d.npz"}) folder.write(name, "");
  const auto cases = find_cases(folder.path(), false);
  REQUIRE(cases.size() == 4);
  CHECK(cases[0].segmentation == folder.path() / "a_seg.b2nd");
  CHECK(cases[1].segmentation.empty());
  CHECK(cases[2].segmentation.empty());
  CHECK(cases[3].segmentation == folder.path() / "d.npz");  // whether it has labels is inside
}

TEST_CASE("case files: labels of another format are not those of an image that nnU-Net finds first", "[engine]") {
  const Folder folder;
  for (const char* name : {"a.b2nd", "a.npz", "a_seg.npy"}) folder.write(name, "");
  CHECK(has(message_of([&] { find_cases(folder.path()); }), "a_seg.b2nd] expected the segmentation of case a"));
}

}  // namespace
}  // namespace fastnnunet::engine
