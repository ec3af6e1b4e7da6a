#include "fastnnunet/warp/crop.h"

#include <vector>

#include "catch.h"
#include "fastnnunet/platform/pages.h"
#include "message.h"

namespace fastnnunet::warp {
namespace {

using namespace testing;

#ifdef __linux__
// Pages that nobody touches take no memory.
class Pages {
 public:
  explicit Pages(std::size_t bytes) : bytes_(bytes), memory_(platform::take_pages(bytes)) {}
  ~Pages() { platform::give_pages(memory_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::int16_t* values() const { return static_cast<std::int16_t*>(memory_); }

 private:
  std::size_t bytes_;
  void* memory_;
};

TEST_CASE("cropping: of an image in memory with more voxels than 32 bits count, parts are brought together",
          "[transforms]") {
  const Index3 shape{3, 30000, 30000};  // 2.7e9 voxels, 5.4 GB
  const Pages pages(static_cast<std::size_t>(voxels(shape)) * sizeof(std::int16_t));
  const sample::Array<std::int16_t> array{pages.values(), 1, shape};
  const Box box{{0, 29990, 29980}, {3, 29994, 29986}};
  std::int16_t value = 0;
  std::vector<std::int16_t> expected;
  for (std::int64_t x = box.lower[0]; x < box.upper[0]; ++x)
    for (std::int64_t y = box.lower[1]; y < box.upper[1]; ++y)
      for (std::int64_t z = box.lower[2]; z < box.upper[2]; ++z) {
        array.data[(x * shape[1] + y) * shape[2] + z] = ++value;
        expected.push_back(value);
      }
  sample::Workspace workspace;
  Input<std::int16_t> input(nullptr, array, workspace);
  CHECK(input.view_in_place(0, box).data == nullptr);
  const sample::SourceView<std::int16_t> view = input.view(0, box);
  CHECK(std::vector<std::int16_t>(view.data, view.data + expected.size()) == expected);
  CHECK((view.plane_step == 24 && view.row_step == 6));
  std::vector<std::int16_t> cropped(expected.size());
  input.crop(0, box, Border::constant, 0, {}, cropped.data());
  CHECK(cropped == expected);
  CHECK(has(message_of([&] { input.view(0, Box::of_shape(shape)); }), "at most 2147483647 voxels"));
  // What lies in one plane lies near enough.
  const Box plane{{2, 29990, 29980}, {3, 29994, 29986}};
  CHECK(input.view_in_place(0, plane).data == array.data + (2 * shape[1] + 29990) * shape[2] + 29980);
}
#endif

}  // namespace
}  // namespace fastnnunet::warp
