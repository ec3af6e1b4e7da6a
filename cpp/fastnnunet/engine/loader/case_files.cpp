#include "fastnnunet/engine/loader/case_files.h"

#include <cstdio>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet {

std::pair<const std::filesystem::path*, const std::string*> CaseFiles::volume(int which) const {
  switch (which) {
    case kImage:
      return {&image, &image_member};
    case kSegmentation:
      return {&segmentation, &segmentation_member};
    default:
      return {&previous, &previous_member};
  }
}

std::string stamp_of_case(const CaseFiles& files) {
  std::string stamp;
  for (const std::filesystem::path* path : {&files.image, &files.segmentation, &files.previous, &files.properties}) {
    if (path->empty()) continue;
    std::string one = "none";
    try {
      const InputFile file(*path);
      char text[48];
      std::snprintf(text, sizeof(text), "%llx:%016llx", static_cast<unsigned long long>(file.size()),
                    static_cast<unsigned long long>(file.content()));
      one = text;
    } catch (const StorageError& error) {
      if (error.passing() != Passing::if_it_was_there) return {};
    }
    stamp += (stamp.empty() ? "" : " ") + one;
  }
  return stamp;
}

}  // namespace fastnnunet
