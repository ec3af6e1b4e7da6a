// What SpatialTransform and ChannelMisalignmentTransform draw of where their patch lies, and record under the same
// names.
#pragma once

#include <Eigen/Geometry>
#include <string_view>

#include "fastnnunet/transforms/record.h"

namespace fastnnunet::transforms {

// In the last `dims` of three axes.
struct PatchAffine {
  int dims = 3;
  bool turns = false;  // bgv2's 'affine' is not None
  // linear(): 'affine'; translation(): 'center_location_in_pixels', the patch's centre in voxels of what it is cut
  // from.
  Eigen::Affine3d map = Eigen::Affine3d::Identity();

  // Throws InvalidArgument for a centre or an entry that is not finite, or so large that positions are not.
  void check(std::string_view owner) const;
  void describe(Record& record) const;
  // Throws InvalidArgument also where these are not of `dims` axes. `dims` is set before.
  void restore(const Record& record, std::string_view owner);
};

}  // namespace fastnnunet::transforms
