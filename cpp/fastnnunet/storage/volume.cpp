#include "fastnnunet/storage/volume.h"

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/formats.h"
#include "fastnnunet/storage/memory_volume.h"

namespace fastnnunet {

std::unique_ptr<Volume> open_volume(const std::filesystem::path& file, const std::string& member) {
  return open_volume(FilePlace(file), member);
}

std::unique_ptr<Volume> open_volume(const FilePlace& place, const std::string& member) {
  const std::filesystem::path& file = place.path;
  const std::filesystem::path ending = file.extension();
  if (ending == ".b2nd") return storage::open_b2nd(file, place.parts);
  if (place.parts) throw InvalidArgument(platform::utf8(file), "a .b2nd file, if it is there in parts", "another one");
  if (ending == ".npy") return storage::open_npy(file);
  if (ending == ".npz") return storage::open_npz(file, member);
  if (auto array = storage::open_memory(platform::utf8(file))) return array;
  throw StorageError(platform::utf8(file),
                     "expected a file that ends in .b2nd, .npy or .npz, got '" + platform::utf8(ending) + "'");
}

}  // namespace fastnnunet
