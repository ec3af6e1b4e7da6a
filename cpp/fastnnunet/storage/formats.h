// The formats one by one; open_volume chooses by the file's ending.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "fastnnunet/platform/file_place.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::storage {

std::unique_ptr<Volume> open_b2nd(const std::filesystem::path& path, const std::optional<FileParts>& parts = {});
std::unique_ptr<Volume> open_npy(const std::filesystem::path& path);
std::unique_ptr<Volume> open_npz(const std::filesystem::path& path, const std::string& member);

}  // namespace fastnnunet::storage
