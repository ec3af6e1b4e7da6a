// The formats one by one; open_volume chooses by the file's ending.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "fastnnunet/base/platform.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet {

// Windows does not let a file be replaced or deleted while it is mapped, so nnU-Net maps everywhere else.
#ifdef _WIN32
inline constexpr FileAccess kCompressedAccess = FileAccess::copied;
#else
inline constexpr FileAccess kCompressedAccess = FileAccess::mapped;
#endif

std::unique_ptr<Volume> open_b2nd(const std::filesystem::path& path, FileAccess access = kCompressedAccess);
std::unique_ptr<Volume> open_npy(const std::filesystem::path& path);
std::unique_ptr<Volume> open_npz(const std::filesystem::path& path, const std::string& member);

}  // namespace fastnnunet
