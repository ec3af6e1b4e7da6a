#include "fastnnunet/engine/loader/case_files.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <string_view>
#include <system_error>

#include "fastnnunet/base/error.h"
#include "fastnnunet/platform/input_file.h"

namespace fastnnunet {

std::pair<const std::filesystem::path*, const std::string*> CaseFiles::volume(int which) const {
  switch (which) {
    case kImage:
      return {&image, &image_member};
    case kSegmentation:
      return {&segmentation, &segmentation_member};
    case kRegression:
      return {&regression, &regression_member};
    default:
      return {&previous, &previous_member};
  }
}

std::string stamp_of_case(const CaseFiles& files) {
  std::string stamp;
  for (const std::filesystem::path* path :
       {&files.image, &files.segmentation, &files.previous, &files.properties, &files.regression}) {
    if (path->empty()) continue;
    std::string one = "none";
    try {
      const platform::InputFile file(*path);
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

std::vector<CaseFiles> find_cases(const std::filesystem::path& folder, bool labelled) {
  // In the order in which nnU-Net looks for them.
  static constexpr std::array<std::string_view, 3> kEndings{".b2nd", ".npy", ".npz"};
  constexpr std::size_t kB2nd = 0, kNpz = 2;
  std::map<std::string, std::array<bool, 3>> found;  // what files there are of a name
  std::error_code error;
  std::filesystem::directory_iterator entries(platform::system_path(folder), error);
  while (!error && entries != std::filesystem::directory_iterator()) {
    const std::filesystem::path& path = entries->path();
    const auto ending = std::find(kEndings.begin(), kEndings.end(), platform::utf8(path.extension()));
    if (ending != kEndings.end())
      found[platform::utf8(path.stem())][static_cast<std::size_t>(ending - kEndings.begin())] = true;
    entries.increment(error);
  }
  if (error) throw StorageError(platform::utf8(folder), "expected a folder that can be read, got " + error.message());
  const auto is_segmentation = [&](const std::string& name) {
    return name.ends_with("_seg") && found.contains(name.substr(0, name.size() - 4));
  };
  std::vector<CaseFiles> cases;
  for (const auto& [name, endings] : found) {
    if (is_segmentation(name)) continue;
    const auto file = [&](const std::string& stem, std::size_t format) {
      const std::string named = stem + std::string(kEndings[format]);
      return folder / std::filesystem::path(std::u8string(named.begin(), named.end()));
    };
    const auto at = static_cast<std::size_t>(std::find(endings.begin(), endings.end(), true) - endings.begin());
    CaseFiles files{name, file(name, at), file(name + "_seg", at), {}};
    const auto labels = found.find(name + "_seg");
    if (at == kNpz || labels == found.end() || !labels->second[at]) {
      // An .npz holds both, also where only the image was unpacked.
      const bool inside = at != kB2nd && endings[kNpz];
      if (!inside && labelled)
        throw StorageError(platform::utf8(files.segmentation),
                           "expected the segmentation of case " + name + ", got no such file");
      files.segmentation = inside ? file(name, kNpz) : std::filesystem::path();
    }
    cases.push_back(std::move(files));
  }
  return cases;
}

}  // namespace fastnnunet
