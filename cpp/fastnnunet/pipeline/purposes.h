// Purposes of a sample's streams: 0 is the sampling; node n draws with 2 n + 1, and its fields are 2 n + 2.
#pragma once

#include <cstdint>

namespace fastnnunet::pipeline {

inline std::uint32_t draw_purpose(std::uint32_t node) { return 2 * node + 1; }
inline std::uint32_t field_purpose(std::uint32_t node) { return 2 * node + 2; }

}  // namespace fastnnunet::pipeline
