// The formats one by one; open_volume chooses by the file's ending.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet {

// Files are copied from unless somebody asks for a mapping: a file that is cut while a thread decompresses out of its
// mapping would end the process with SIGBUS. A deflated member of an .npz is never mapped.
std::unique_ptr<Volume> open_b2nd(const std::filesystem::path& path, FileAccess access = FileAccess::copied);
std::unique_ptr<Volume> open_npy(const std::filesystem::path& path, FileAccess access = FileAccess::copied);
std::unique_ptr<Volume> open_npz(const std::filesystem::path& path, const std::string& member,
                                 FileAccess access = FileAccess::copied);

}  // namespace fastnnunet
