#include "fastnnunet/warp/positions.h"

#include <cmath>
#include <cstdint>
#include <limits>

#define HWY_TARGET_INCLUDE "fastnnunet/warp/positions.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::warp::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Positions along one axis are limited to this many voxels, so that they fit an int32.
constexpr double kFar = 1e8;

// Truncation corrected to floor, all of it in double: this vectorises on every x86-64, std::floor and a mixture of
// types do not.
HWY_INLINE double floor_of(double at) {
  const double whole = static_cast<double>(static_cast<std::int32_t>(at));
  return whole > at ? whole - 1.0 : whole;
}

// Positions are integers of 64 bits, kept in halves, so that nothing is shuffled: what is before the point, and what is
// behind it, whose carry is found by a comparison. Its sign bit is turned around, for that is how vectors compare.
void near_positions(std::int64_t start, std::int64_t step, std::int64_t count, AxisPositions& out) {
  constexpr std::int32_t kSign = std::numeric_limits<std::int32_t>::min();
  const hn::CappedTag<std::int32_t, 8> d;
  const hn::RebindToUnsigned<decltype(d)> unsigned_d;
  const hn::RebindToFloat<decltype(d)> float_d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto before = [](std::int64_t at) { return static_cast<std::int32_t>(at >> 32); };
  const auto behind = [](std::int64_t at) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(at) ^ static_cast<std::uint32_t>(kSign));
  };
  alignas(32) std::int32_t first_whole[8], first_part[8];
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    first_whole[lane] = before(start + lane * step);
    first_part[lane] = behind(start + lane * step);
  }
  const std::int64_t stride = lanes * step;
  const auto whole_step = hn::Set(d, before(stride));
  const auto part_step = hn::Set(d, static_cast<std::int32_t>(static_cast<std::uint32_t>(stride)));
  const auto wrapped = hn::Set(d, behind(stride));
  const auto sign = hn::Set(d, kSign);
  // A float has room for 24 of the bits behind the point.
  const auto unit = hn::Set(float_d, 0x1p-24f);
  auto whole = hn::Load(d, first_whole), part = hn::Load(d, first_part);
  // Whole vectors also at the end: there is room for a whole piece.
  for (std::int64_t k = 0; k < count; k += lanes) {
    hn::StoreU(whole, d, out.whole + k);
    const auto bits = hn::ShiftRight<8>(hn::BitCast(unsigned_d, hn::Xor(part, sign)));
    hn::StoreU(hn::Mul(hn::ConvertTo(float_d, hn::BitCast(d, bits)), unit), float_d, out.fraction + k);
    part = hn::Add(part, part_step);
    whole = hn::Sub(hn::Add(whole, whole_step), hn::VecFromMask(d, hn::Lt(part, wrapped)));
  }
}

void line(double start, double step, std::int64_t count, double* HWY_RESTRICT at) {
  for (std::int64_t k = 0; k < count; ++k) at[k] = start + step * static_cast<double>(k);
}

void displace(const float* HWY_RESTRICT component, double entry, std::int64_t count, double* HWY_RESTRICT at) {
  for (std::int64_t k = 0; k < count; ++k) at[k] += entry * static_cast<double>(component[k]);
}

void split(const double* HWY_RESTRICT positions, std::int64_t count, std::int32_t lower, AxisPositions& out) {
  for (std::int64_t k = 0; k < count; ++k) {
    double at = positions[k];
    at = at < -kFar ? -kFar : at;
    at = at > kFar ? kFar : at;
    const double below = floor_of(at);
    out.whole[k] = static_cast<std::int32_t>(below) - lower;
    out.fraction[k] = static_cast<float>(at - below);
  }
}

// Positions in [0, last]. The last voxel is the upper corner of the one below it, so that all corners exist.
void split_folded(const double* HWY_RESTRICT positions, std::int64_t count, std::int32_t last, std::int32_t lower,
                  AxisPositions& out) {
  const std::int32_t highest = last > 0 ? last - 1 : 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const double at = positions[k];
    std::int32_t whole = static_cast<std::int32_t>(at);
    whole = whole > highest ? highest : whole;
    out.whole[k] = whole - lower;
    out.fraction[k] = static_cast<float>(at - static_cast<double>(whole));
  }
}

void lattice_line(const Lattice& lattice, std::int32_t begin, std::int32_t count, double* HWY_RESTRICT at) {
  for (std::int32_t k = 0; k < count; ++k) at[k] = static_cast<double>(lattice.at(begin + k));
}

void clamp_all(double* at, std::int64_t count, double last) {
  for (std::int64_t k = 0; k < count; ++k) {
    double inside = at[k] > 0 ? at[k] : 0;
    at[k] = inside < last ? inside : last;
  }
}

// Signs of what must not be negative: a choice would be a branch to a compiler. All positions are within 1e9, so
// nothing overflows. `flat`: a mask; of the first axis only the lower corners count then, and these lie in the box.
// Returns whether all places are the same.
bool places_of(const AxisPositions* HWY_RESTRICT axes, std::int32_t last_x, std::int32_t last_y, std::int32_t last_z,
               std::int32_t flat, std::int64_t count, std::int32_t* HWY_RESTRICT places) {
  std::int32_t any = 0, all = -1;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int32_t x = axes[0].whole[k], y = axes[1].whole[k], z = axes[2].whole[k];
    const std::int32_t not_inside = ((x | (last_x - 1 - x)) & ~flat) | y | (last_y - 1 - y) | z | (last_z - 1 - z);
    const std::int32_t outside = (x + 1) | (last_x - x) | (y + 1) | (last_y - y) | (z + 1) | (last_z - z);
    const std::int32_t place = kInside + (not_inside >> 31) + (outside >> 31);
    places[k] = place;
    any |= place;
    all &= place;
  }
  return any == all;
}

}  // namespace
}  // namespace fastnnunet::warp::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::warp {
namespace {

FASTNNUNET_DISPATCH(near_positions);
FASTNNUNET_DISPATCH(line);
FASTNNUNET_DISPATCH(displace);
FASTNNUNET_DISPATCH(split);
FASTNNUNET_DISPATCH(split_folded);
FASTNNUNET_DISPATCH(lattice_line);
FASTNNUNET_DISPATCH(clamp_all);
FASTNNUNET_DISPATCH(places_of);

// Positions within this many voxels of the box, as nearly all are, are counted in 2^-32 of a voxel: what is before the
// point and what is behind it are the two halves of an integer. Over a piece the step's rounding makes 2^-26.
constexpr double kNear = 1048576.0;
constexpr double kParts = 4294967296.0;

void axis_positions(double start, double step, std::int64_t count, AxisPositions& out) {
  const double end = start + step * static_cast<double>(count - 1);
  if (std::abs(start) < kNear && std::abs(end) < kNear && std::abs(step) < kNear)
    return near_positions(std::llrint(start * kParts), std::llrint(step * kParts), count, out);
  alignas(64) double at[kPiece];
  line(start, step, count, at);
  split(at, count, 0, out);
}

// Mirrors of one axis: at `first` and `first + span`.
struct Mirrors {
  double first;
  double span;

  Mirrors(std::int64_t size, bool align_corners)
      : first(align_corners ? 0.0 : -0.5), span(static_cast<double>(align_corners ? size - 1 : size)) {}

  // How many mirrors lie between the window and a position; negative below it. One less is the same as one more.
  double crossed(double at) const { return std::floor((at - first) / span); }

  double fold(double at) const {
    const double flips = crossed(at);
    const double beyond = at - first - flips * span;
    return std::fmod(flips, 2.0) == 0 ? first + beyond : first + span - beyond;
  }
};

void reflect_all(double* at, std::int64_t count, const Mirrors& mirrors) {
  const double end = mirrors.first + mirrors.span;
  if (mirrors.span <= 0) {
    std::fill(at, at + count, 0.0);
    return;
  }
  for (std::int64_t k = 0; k < count; ++k)
    if (at[k] < mirrors.first || at[k] > end) at[k] = mirrors.fold(at[k]);
}

// The range that [low, high] takes after folding.
void fold_range(Border border, bool align_corners, std::int64_t size, double& low, double& high) {
  const auto last = static_cast<double>(size - 1);
  if (border == Border::reflection) {
    const Mirrors mirrors(size, align_corners);
    const double first_cell = mirrors.span > 0 ? mirrors.crossed(low) : 0;
    const double last_cell = mirrors.span > 0 ? mirrors.crossed(high) : 2;
    if (last_cell - first_cell > 1) {
      low = 0, high = last;
    } else {
      const double a = mirrors.fold(low), b = mirrors.fold(high);
      low = std::min(a, b), high = std::max(a, b);
      // A mirror inside of the range is where it ends: the far one after an even number of mirrors, else the near one.
      if (last_cell > first_cell && std::fmod(first_cell, 2.0) == 0) high = last;
      if (last_cell > first_cell && std::fmod(first_cell, 2.0) != 0) low = 0;
    }
  }
  low = std::clamp(low, 0.0, last);
  high = std::clamp(high, 0.0, last);
}

// How far a lattice's positions may lie from those of matrix and offset: a few roundings of float32.
double rounding_of(const Lattice& lattice, double low, double high) {
  if (lattice.of < 0) return 0.0;
  return 0x1p-21 * (std::abs(low) + std::abs(high) + 2.0 * static_cast<double>(lattice.half_size));
}

// Where the voxels of a patch lie in the window, before they are folded: the image of all indices and displacements.
Eigen::AlignedBox3d reach_of(const Positions& positions, const Index3& patch) {
  const Eigen::Vector3d last(static_cast<double>(patch[0] - 1), static_cast<double>(patch[1] - 1),
                             static_cast<double>(patch[2] - 1));
  Eigen::AlignedBox3d voxels(Eigen::Vector3d::Zero(), last);
  if (positions.displacements != nullptr) {
    voxels.min() += Eigen::Map<const Eigen::Vector3d>(positions.displacements->low.data());
    voxels.max() += Eigen::Map<const Eigen::Vector3d>(positions.displacements->high.data());
  }
  return voxels.transformed(positions.to_window);
}

}  // namespace

Box needed_box(const Positions& positions, const Index3& patch, const Index3& window) {
  const Eigen::AlignedBox3d reach = reach_of(positions, patch);
  Box box;
  for (int axis = 0; axis < 3; ++axis) {
    double low = reach.min()[axis], high = reach.max()[axis];
    // A margin for rounding in the rows' own arithmetic.
    const double margin = 1e-6 + rounding_of(positions.lattice[axis], low, high);
    low -= margin;
    high += margin;
    if (positions.border != Border::constant && !(positions.planar && axis == 0)) {
      fold_range(positions.border, positions.align_corners, window[axis], low, high);
      low -= 1e-6;  // the last voxel is reached from the one below it
    }
    low = std::clamp(std::floor(low), -1e9, 1e9);
    high = std::clamp(std::floor(high) + 2.0, -1e9, 1e9);
    box.lower[axis] = std::clamp<std::int64_t>(static_cast<std::int64_t>(low), 0, window[axis]);
    box.upper[axis] = std::clamp<std::int64_t>(static_cast<std::int64_t>(high), box.lower[axis], window[axis]);
  }
  return box;
}

Pieces::Pieces(const Positions& positions, const Index3& patch, const Index3& window, const Box& box)
    : positions_(positions),
      patch_(patch),
      window_(window),
      lower_(box.lower),
      shape_(box.shape()),
      flat_(positions.planar || (positions.border != Border::constant && window[0] == 1)),
      separable_(positions.displacements == nullptr && (positions.planar || positions.lattice[0].of == 0) &&
                 positions.lattice[1].of == 1 && positions.lattice[2].of == 2) {}

const AxisPositions (&Pieces::fill(std::int64_t i, std::int64_t j, std::int64_t begin, std::int64_t count))[3] {
  const bool plain = positions_.displacements == nullptr && positions_.border == Border::constant;
  for (int axis = 0; axis < 3; ++axis) {
    if (const int of = positions_.lattice[axis].of; of >= 0) {
      const std::int64_t at = of == 0 ? i : of == 1 ? j : begin;
      if (held_[axis].at == at && held_[axis].count >= count) continue;
      held_[axis] = {at, count};
      fill_lattice(axis, at, of == 2 ? count : 1, axes_[axis]);
      if (of == 2) continue;
      std::fill(axes_[axis].whole + 1, axes_[axis].whole + count, axes_[axis].whole[0]);
      std::fill(axes_[axis].fraction + 1, axes_[axis].fraction + count, axes_[axis].fraction[0]);
      continue;
    }
    const Eigen::Vector3d row = positions_.to_window.linear().row(axis);
    const double offset = positions_.to_window.translation()[axis];
    const double along =
        row[0] * static_cast<double>(i) + row[1] * static_cast<double>(j) + row[2] * static_cast<double>(begin);
    if (plain || (positions_.planar && axis == 0)) {
      axis_positions(along + (offset - static_cast<double>(lower_[axis])), row[2], count, axes_[axis]);
      continue;
    }
    alignas(64) double at[kPiece];
    line(along + offset, row[2], count, at);
    if (positions_.displacements != nullptr) {
      const std::int64_t first = ((positions_.planar ? 0 : i) * patch_[1] + j) * patch_[2] + begin;
      for (int of = 0; of < 3; ++of)
        if (const float* component = positions_.displacements->component[of]; component != nullptr && row[of] != 0)
          displace(component + first, row[of], count, at);
    }
    fold(axis, at, count, axes_[axis]);
  }
  return axes_;
}

void Pieces::fill_lattice(int axis, std::int64_t begin, std::int64_t count, AxisPositions& out) const {
  alignas(64) double at[kPiece];
  lattice_line(positions_.lattice[axis], static_cast<std::int32_t>(begin), static_cast<std::int32_t>(count), at);
  fold(axis, at, count, out);
}

void Pieces::fold(int axis, double* at, std::int64_t count, AxisPositions& out) const {
  const auto lower = static_cast<std::int32_t>(lower_[axis]);
  if (positions_.border == Border::constant) {
    split(at, count, lower, out);
    return;
  }
  if (positions_.border == Border::reflection) reflect_all(at, count, Mirrors(window_[axis], positions_.align_corners));
  const auto last = static_cast<std::int32_t>(window_[axis] - 1);
  clamp_all(at, count, last);
  split_folded(at, count, last, lower, out);
}

bool Pieces::inside(std::int64_t k) const {
  for (int axis = flat_ ? 1 : 0; axis < 3; ++axis)
    if (axes_[axis].whole[k] < 0 || axes_[axis].whole[k] + 1 >= shape_[axis]) return false;
  return true;
}

bool Pieces::places(std::int64_t count, std::int32_t* places) const {
  const auto last = [&](int axis) { return static_cast<std::int32_t>(shape_[axis]) - 1; };
  // What lies on a line lies between its ends.
  if (positions_.displacements == nullptr && positions_.border == Border::constant && inside(0) && inside(count - 1)) {
    places[0] = kInside;
    return true;
  }
  return places_of(axes_, last(0), last(1), last(2), flat_ ? -1 : 0, count, places);
}

}  // namespace fastnnunet::warp
#endif  // HWY_ONCE
