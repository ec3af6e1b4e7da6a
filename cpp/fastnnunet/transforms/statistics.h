// Statistics of one channel, in double and in blocks of a fixed size, so that they are exact enough to be compared and
// the same whoever computes them. NaN propagates as in torch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "fastnnunet/sample/linear.h"
#include "fastnnunet/sample/memory/workspace.h"

namespace fastnnunet::transforms {

struct Extent {
  float minimum;
  float maximum;
};

// Mean, standard deviation and extent in one pass, also over values that come in pieces.
class Moments {
 public:
  // Deviations are summed from `pivot`, which should lie among the values.
  explicit Moments(double pivot = 0) : pivot_(pivot) {}
  // Of all of them, with the first one as the pivot; with a workspace on the threads that may help, to the same bits.
  static Moments of(std::span<const float> values);
  static Moments of(const sample::Workspace& workspace, std::span<float> values);

  void add(std::span<const float> values);
  // Of what `work` makes of each block of values, in place: work(block).
  template <typename Work>
  void add_made(const sample::Workspace& workspace, std::span<float> values, const Work& work) {
    Block made[kGroup];
    for (std::size_t begin = 0; begin < values.size(); begin += kGroup * sample::Workspace::kBlock) {
      const auto group = values.subspan(begin, std::min(kGroup * sample::Workspace::kBlock, values.size() - begin));
      workspace.share_values(group, [&](std::span<float> part, std::size_t first) {
        for (std::size_t at = 0; at < part.size(); at += sample::Workspace::kBlock) {
          const auto block = part.subspan(at, std::min(sample::Workspace::kBlock, part.size() - at));
          work(block);
          made[(first + at) / sample::Workspace::kBlock] = of_block(block);
        }
      });
      const std::size_t blocks = (group.size() + sample::Workspace::kBlock - 1) / sample::Workspace::kBlock;
      for (std::size_t block = 0; block < blocks; ++block) take(made[block]);
    }
  }
  // Of the same values after this arithmetic.
  Moments after(const sample::Linear& arithmetic) const;

  double mean() const;
  // With Bessel's correction; NaN for fewer than two values.
  double standard_deviation() const;
  Extent extent() const;

 private:
  static constexpr std::size_t kGroup = 256;  // blocks
  // Sums are added block by block, in their order, whoever made them.
  struct Block {
    std::size_t count;
    double sum;
    double squares;
    Extent ordered;
    bool has_nan;
  };
  Block of_block(std::span<const float> values) const;
  void take(const Block& block);

  double pivot_;
  std::size_t count_ = 0;
  double sum_ = 0;      // of deviations
  double squares_ = 0;  // of deviations
  Extent ordered_{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  bool has_nan_ = false;
};

double mean(std::span<const float> values);
// With Bessel's correction, as torch.std; NaN for fewer than two values.
double standard_deviation(std::span<const float> values, double mean);
Extent extent(std::span<const float> values);

}  // namespace fastnnunet::transforms
