// What a transform is, whatever its parameters. Passes over a plan (pipeline/passes.h), the layout of a finished sample
// and the budget go by this, and never by a transform's name.
#pragma once

#include <cstdint>

#include "fastnnunet/transforms/record.h"

namespace fastnnunet::transforms {

enum class VoxelAccess : std::uint8_t { none, reads, writes };

// Where a result is put. The budget counts the arrays that apply() asks the sample for (Pipeline::workspace_bytes).
enum class ResultRoom : std::uint8_t {
  in_place,
  anew,    // new_image, new_segmentation, of what may not have been read yet
  behind,  // more channels behind those that are there
};

// What apply() does with one of the two arrays.
struct ArrayUse {
  VoxelAccess access = VoxelAccess::writes;
  // Voxels may change places (sample/moves/moves.h) before the transform or after it: the result is the same bits.
  // Where nothing is done with an array, this is true of it.
  bool indifferent_to_moves = false;
  ResultRoom room = ResultRoom::in_place;

  bool touches() const { return access != VoxelAccess::none; }
};

struct Traits {
  using Access = VoxelAccess;
  using Room = ResultRoom;
  static constexpr ArrayUse kUntouched{.access = Access::none, .indifferent_to_moves = true};

  ArrayUse image{};
  ArrayUse labels{};

  bool native = true;         // runs without Python's lock
  bool moves_voxels = false;  // a regression target goes through the transform as an image does
  // Does nothing but move voxels (Transform::permutation); it does the moves that the plan gives it in place of its
  // own.
  bool permutes = false;
  // apply() does the moves that the plan gives it (Work::moves) as it writes image and labels.
  bool writes_permuted = false;

  // Pointwise arithmetic, the same for all voxels of a channel. Transform::channels() says of which channels.
  bool is_arithmetic = false;      // nothing else, and known from the parameters (Transform::arithmetic)
  bool takes_arithmetic = false;   // apply() does what is left of earlier steps as it reads (Work::take)
  bool leaves_arithmetic = false;  // apply() may leave the rest of its work to the next reader (Work::leave)

  bool takes_regions = false;  // works on regions as it does on labels
  bool makes_regions = false;  // new_regions: from here on the labels are regions
  // The scales of deep supervision that the labels become a list of; null for any other transform.
  const Record::Rows* target_scales = nullptr;
};

}  // namespace fastnnunet::transforms
