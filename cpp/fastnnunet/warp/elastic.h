// The displacement field of an elastic deformation: normal noise under a periodic Gaussian filter, scaled so that its
// largest entry is the magnitude.
//
// The filter (scipy's fourier_gaussian) multiplies every mode of the discrete Fourier transform by a real weight, and
// the modes of white noise are themselves independent and normal. So the noise is drawn for modes, not for voxels, and
// only for those whose weight is not negligible: the wider the filter, the fewer there are. The sum of the modes is
// separable, so it is a product with a small matrix along each axis.
#pragma once

#include <cstdint>
#include <vector>

#include "fastnnunet/base/box.h"
#include "fastnnunet/random/stream.h"
#include "fastnnunet/warp/positions.h"

namespace fastnnunet::warp {

// Waves along one axis that a filter of `sigma` voxels leaves, in an orthonormal basis: cosines, then sines.
class Waves {
 public:
  void build(std::int64_t size, double sigma);

  std::int64_t size() const { return size_; }
  std::int64_t cosines() const { return cosines_; }
  std::int64_t count() const { return cosines_ + sines_; }
  // (size / 2 + 1, count): what each wave, weighted, adds to a voxel. The second half of the axis is the mirror image
  // of the first, with the sines negative.
  const float* by_voxel() const { return by_voxel_.data(); }
  // (count, size).
  const float* by_wave() const { return by_wave_.data(); }

 private:
  std::int64_t size_ = 0, cosines_ = 0, sines_ = 0;
  std::vector<double> cosine_, sine_;  // of each size-th part of a turn
  std::vector<float> by_voxel_, by_wave_;
};

// Draws fields; memory is kept from one to the next.
class ElasticField {
 public:
  // out: (X, Y, Z) of `shape`. The noise is numbers `first`, ... of `stream`, at most as many as the field has voxels.
  // `between` has room for (X, Y, Z), `small` for 2 (Y, Z).
  void draw(const random::Stream& stream, std::uint64_t first, double sigma, double magnitude, const Index3& shape,
            float* between, float* small, float* out);

 private:
  Waves waves_[3];
};

// Lowest, highest and mean entry of one component of a field. Throws InvalidArgument where one is not finite.
void survey(const float* component, std::int64_t count, double& low, double& high, double& mean);

}  // namespace fastnnunet::warp
