// How often each label of a reference meets each label of a prediction: every count that nnU-Net's metrics are made of,
// for all labels and regions, in one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastnnunet::evaluation {

// Labels by number: labels[i] has the number i + 1, and every other value, NaN included, has the number 0.
class LabelNumbers {
 public:
  // Throws InvalidArgument for no labels, for labels that are given twice, or that are further apart than 2^20.
  explicit LabelNumbers(const std::vector<std::int64_t>& labels);

  // One more than there are labels.
  std::size_t size() const { return size_; }

  template <typename T>
  std::uint16_t of(T value) const;

 private:
  std::int64_t lowest_ = 0;
  std::int64_t highest_ = 0;
  std::size_t size_ = 0;
  std::vector<std::uint16_t> numbers_;  // of the values from the lowest label to the highest
};

// The numbers of `count` values: float, double or integers of any size.
template <typename T>
void number_values(const T* values, std::int64_t count, const LabelNumbers& numbers, std::uint16_t* out);

// Adds to `counts`, (size, size), the voxels of each pair: rows are numbers of the reference's values, columns of the
// prediction's.
void count_pairs(const std::uint16_t* reference, const std::uint16_t* prediction, std::int64_t count, std::size_t size,
                 std::int64_t* counts);

}  // namespace fastnnunet::evaluation
