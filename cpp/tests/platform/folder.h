// A folder of a test's own.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "fastnnunet/platform/input_file.h"
#include "fastnnunet/platform/process.h"

namespace fastnnunet::testing {

class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("fastnnunet-platform-" + std::to_string(platform::process_id()) + "-" + std::to_string(++count));
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(platform::system_path(path_), ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  void write(const std::filesystem::path& name, const std::string& text) const {
    std::filesystem::create_directories(platform::system_path((path_ / name).parent_path()));
    std::ofstream(platform::system_path(path_ / name), std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace fastnnunet::testing
