// Where the classes (or regions) of a case are: nnU-Net's `class_locations`, a dictionary from a label, or a tuple of
// labels, to up to 10,000 voxels, kept as one number per voxel instead of four 64-bit ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fastnnunet/base/api.h"
#include "fastnnunet/base/box.h"

namespace fastnnunet {

class FASTNNUNET_API ClassLocations {
 public:
  // The keys of one dictionary in its order. `is_annotated` marks nnU-Net's key for "everything that is not ignored".
  struct Class {
    std::vector<std::int64_t> labels;
    bool is_region = false;     // the key is a tuple
    bool is_annotated = false;  // the key is (-1, *all_labels)
    std::uint64_t first = 0;    // into the voxels
    std::uint64_t count = 0;
  };

  ClassLocations() = default;
  explicit ClassLocations(const Index3& shape) : shape_(shape) {}

  // `voxels` is (N, columns) int64, C-contiguous, of which the last three columns are X, Y, Z; nnU-Net stores four, the
  // first being the channel. Throws InvalidArgument for a voxel outside the image.
  void add(std::vector<std::int64_t> labels, bool is_region, bool is_annotated, std::span<const std::int64_t> voxels,
           int columns);

  const std::vector<Class>& classes() const { return classes_; }
  Index3 voxel(const Class& of, std::uint64_t number) const;
  std::size_t memory() const;

 private:
  Index3 shape_{};
  std::vector<Class> classes_;
  std::vector<std::uint32_t> small_;  // linear voxel numbers where they fit into 32 bits
  std::vector<std::uint64_t> large_;
};

// Reads the locations of a case, whose image has the given shape. Called from any thread, once at a time for a case.
using LocationReader = std::function<ClassLocations(std::size_t case_number, const Index3& shape)>;

}  // namespace fastnnunet
