// A place in a batch, for samples that are finished in one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "fastnnunet/pipeline/pipeline.h"

namespace fastnnunet::testing {

// Memory as a batch has it, with a margin that nobody may write.
struct Slot {
  explicit Slot(const Layout& layout) {
    image.assign(static_cast<std::size_t>(layout.image_channels * voxels(layout.image_shape)) + 1, kUntouched);
    destination.image = {image.data(), layout.image_channels, layout.image_shape};
    for (const auto& wanted : layout.targets) {
      sample::Target target{wanted.type, nullptr, wanted.channels, wanted.shape};
      targets.push_back(std::vector<std::byte>(target.bytes()));
      targets.back().insert(targets.back().end(), kMargin.begin(), kMargin.end());
      target.data = targets.back().data();
      destination.targets.push_back(target);
    }
  }
  bool margins_untouched() const {
    return image.back() == kUntouched && std::all_of(targets.begin(), targets.end(), [](const auto& bytes) {
             return std::equal(kMargin.begin(), kMargin.end(), bytes.end() - kMargin.size());
           });
  }
  static constexpr float kUntouched = 12345.0f;
  static constexpr std::array<std::byte, 4> kMargin = {std::byte{0x5a}, std::byte{1}, std::byte{2}, std::byte{3}};
  std::vector<float> image;
  std::vector<std::vector<std::byte>> targets;
  sample::Destination destination;
};

}  // namespace fastnnunet::testing
