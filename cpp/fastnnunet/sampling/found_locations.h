// Class locations of a segmentation that no preprocessing has looked for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fastnnunet/storage/volume.h"

namespace fastnnunet::sampling {

struct FoundClass {
  std::vector<std::int64_t> labels;  // one label, or those of a region
  bool is_annotated = false;         // every voxel that is not ignored, whatever its label
  std::vector<std::int64_t> voxels;  // (N, 3), C-contiguous: X, Y, Z, in the order of the volume
};

// Where the classes of the first channel are. `classes`: labels of each class; without them, every label above 0 that
// occurs is a class of its own. `ignored`: a label that marks voxels without annotation; the last class then is all
// other voxels. Of each class, as many voxels as nnU-Net's preprocessing keeps (10,000, or one in a hundred where these
// are more; all of a smaller class), drawn without replacement. The same volume gives the same voxels. Throws
// StorageError.
std::vector<FoundClass> find_class_locations(Volume& segmentation,
                                             const std::optional<std::vector<std::vector<std::int64_t>>>& classes,
                                             std::optional<std::int64_t> ignored);

}  // namespace fastnnunet::sampling
