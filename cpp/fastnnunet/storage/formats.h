// The formats one by one; open_volume chooses by the file's ending.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "fastnnunet/base/platform.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet {

// Reading a mapping of a file that a failing disk, or somebody who cuts it short, takes away kills the process; reading
// the file gives an error. What is copied is compressed, and so little.
inline constexpr FileAccess kCompressedAccess = FileAccess::copied;

std::unique_ptr<Volume> open_b2nd(const std::filesystem::path& path, FileAccess access = kCompressedAccess);
std::unique_ptr<Volume> open_npy(const std::filesystem::path& path);
std::unique_ptr<Volume> open_npz(const std::filesystem::path& path, const std::string& member);

}  // namespace fastnnunet
