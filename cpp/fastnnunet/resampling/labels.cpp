#include <cstdint>
#include <vector>

#include "fastnnunet/base/parallel.h"
#include "fastnnunet/base/vote.h"
#include "fastnnunet/resampling/axis.h"
#include "fastnnunet/resampling/checks.h"
#include "fastnnunet/resampling/resize.h"

namespace fastnnunet::resampling {
namespace {

// One axis at one voxel of the result.
struct Between {
  std::int64_t lower = 0;
  std::int64_t upper = 0;
  double weights[2] = {};
  int nearest = 0;  // which of the two
};

class LabelAxis {
 public:
  LabelAxis(const LinearAxis& axis, std::int64_t from, std::int64_t to)
      : axis_(axis), nearest_(nearest_axis(from, to).lower) {}

  Between at(std::int64_t i) const {
    const auto k = static_cast<std::size_t>(i);
    const double lower = 1.0 - axis_.fraction[k];
    // The upper weight is what the lower one leaves, not the fraction itself: equal scores must be equal to the last
    // bit.
    return {axis_.lower[k], axis_.upper[k], {lower, 1.0 - lower}, nearest_[k] != axis_.lower[k] ? 1 : 0};
  }

 private:
  const LinearAxis& axis_;
  std::vector<std::int32_t> nearest_;
};

template <typename T>
void resize_planes(const T* labels, const Index3& from, const Index3& to, const LinearAxes& axes, std::int64_t begin,
                   std::int64_t end, T* out) {
  const LabelAxis axis_x(axes.axes[0], from[0], to[0]), axis_y(axes.axes[1], from[1], to[1]),
      axis_z(axes.axes[2], from[2], to[2]);
  const std::int32_t* lower = axes.axes[2].lower.data();
  const std::int32_t* upper = axes.axes[2].upper.data();
  std::vector<std::uint8_t> agree(static_cast<std::size_t>(from[2]));
  for (std::int64_t i = begin; i < end; ++i) {
    const Between x = axis_x.at(i);
    for (std::int64_t j = 0; j < to[1]; ++j) {
      const Between y = axis_y.at(j);
      const T* rows[4];
      for (int row = 0; row < 4; ++row)
        rows[row] = labels + ((row & 2 ? x.upper : x.lower) * from[1] + (row & 1 ? y.upper : y.lower)) * from[2];
      for (std::int64_t k = 0; k < from[2]; ++k)
        agree[static_cast<std::size_t>(k)] =
            (rows[0][k] == rows[1][k]) & (rows[0][k] == rows[2][k]) & (rows[0][k] == rows[3][k]);
      T* to_row = out + (i * to[1] + j) * to[2];
      for (std::int64_t k = 0; k < to[2]; ++k) {
        const std::int64_t a = lower[k], b = upper[k];
        // Nearly everywhere all eight neighbours agree.
        if (agree[static_cast<std::size_t>(a)] & agree[static_cast<std::size_t>(b)] & (rows[0][a] == rows[0][b])) {
          to_row[k] = rows[0][a];
          continue;
        }
        T corners[8];
        for (int corner = 0; corner < 8; ++corner) corners[corner] = rows[corner >> 1][corner & 1 ? b : a];
        const Between z = axis_z.at(k);
        to_row[k] = base::vote(corners, x.weights, y.weights, z.weights, 4 * x.nearest + 2 * y.nearest + z.nearest,
                               base::Tiebreak::nearest, [](double weight) { return weight; });
      }
    }
  }
}

}  // namespace

template <typename T>
void resize_labels(const T* labels, const Index3& from, const Index3& to, const ResizeOptions& options, T* out) {
  check_sizes("resample", from, to);
  check_axis("resample", options.separate);
  if (options.order != 0 && options.order != 1)
    throw InvalidArgument("resample", "order 0 or 1 for a segmentation", std::to_string(options.order));
  if (options.separate >= 0 && options.order_z != 0)
    throw InvalidArgument("resample", "order_z 0 for a segmentation", std::to_string(options.order_z));
  LinearAxes axes(from, to, options.separate);
  if (options.order == 0)
    for (int axis = 0; axis < 3; ++axis) axes.axes[axis] = nearest_axis(from[axis], to[axis]);
  base::parallel_for(options.threads, to[0], [&](std::int64_t begin, std::int64_t end) {
    resize_planes(labels, from, to, axes, begin, end, out);
  });
}

template void resize_labels(const std::int8_t*, const Index3&, const Index3&, const ResizeOptions&, std::int8_t*);
template void resize_labels(const std::uint8_t*, const Index3&, const Index3&, const ResizeOptions&, std::uint8_t*);
template void resize_labels(const std::int16_t*, const Index3&, const Index3&, const ResizeOptions&, std::int16_t*);
template void resize_labels(const std::uint16_t*, const Index3&, const Index3&, const ResizeOptions&, std::uint16_t*);
template void resize_labels(const std::int32_t*, const Index3&, const Index3&, const ResizeOptions&, std::int32_t*);
template void resize_labels(const std::int64_t*, const Index3&, const Index3&, const ResizeOptions&, std::int64_t*);
template void resize_labels(const float*, const Index3&, const Index3&, const ResizeOptions&, float*);

}  // namespace fastnnunet::resampling
