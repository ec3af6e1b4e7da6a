// The files of a case: where its voxels and its class locations come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/base/api.h"

namespace fastnnunet {

struct CaseFiles {
  std::string name;
  std::filesystem::path image;
  std::filesystem::path segmentation;  // empty for images without labels
  std::filesystem::path previous;      // of the previous stage; empty outside of a cascade
  // Arrays inside .npz files.
  std::string image_member = "data";
  std::string segmentation_member = "seg";
  std::string previous_member = "seg";
  std::filesystem::path properties = {};  // what class locations come from; for errors
  // Of the regression target, which moves as the image does; empty where there is none.
  std::filesystem::path regression = {};
  std::string regression_member = "target";

  static constexpr int kImage = 0, kSegmentation = 1, kPrevious = 2, kRegression = 3, kProperties = 4;
  static constexpr int kVolumes = 4, kFiles = 5;
  // Path and member of one of the volumes.
  FASTNNUNET_API std::pair<const std::filesystem::path*, const std::string*> volume(int which) const;
};

// Files of all cases, numbered through.
inline std::uint32_t file_number(std::size_t case_number, int which) {
  return CaseFiles::kFiles * static_cast<std::uint32_t>(case_number) + static_cast<std::uint32_t>(which);
}

// A text that is the same as long as no file of the case has another content, or is there where it was not. Empty where
// a file cannot be examined now, as on a disk that fails.
FASTNNUNET_API std::string stamp_of_case(const CaseFiles& files);

// The cases of a folder of nnU-Net's preprocessed data, sorted by name: CASE.b2nd with CASE_seg.b2nd, or CASE.npy with
// CASE_seg.npy, or CASE.npz with both inside; of several the first. Throws StorageError where the folder cannot be
// read, or, with `labelled`, where a case has no segmentation; else such a case has an empty path. What is inside an
// .npz is not looked at.
FASTNNUNET_API std::vector<CaseFiles> find_cases(const std::filesystem::path& folder, bool labelled = true);

}  // namespace fastnnunet
