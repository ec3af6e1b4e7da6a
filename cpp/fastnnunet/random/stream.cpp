#include "fastnnunet/random/stream.h"

#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"
#include "fastnnunet/base/simd/vector_math.h"

#define HWY_TARGET_INCLUDE "fastnnunet/random/stream.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::HWY_NAMESPACE {
namespace {

// Box-Muller on so many blocks at a time, laid out so that a compiler sees plain loops over lanes: enough to keep the
// widest vector units busy. Numbers 4*b..4*b+3 of the field come from block b, however many are done at once.
constexpr int kLanes = 64;

// The number of rounds is not a constant here: a loop that is unrolled runs out of registers.
void normal_tile(Philox::Key key, const Philox::Counter& counter, std::uint32_t first_block, int rounds,
                 float* HWY_RESTRICT out) {
  // 32 bits in lanes of 64, for that is how wide their products are. What is above them is not looked at.
  std::uint64_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    c0[lane] = first_block + static_cast<std::uint32_t>(lane);
    c1[lane] = counter[1];
    c2[lane] = counter[2];
    c3[lane] = counter[3];
  }
  for (int round = 0; round < rounds; ++round) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t product0 = Philox::kMultiplier0 * (c0[lane] & 0xFFFFFFFFu);
      const std::uint64_t product1 = Philox::kMultiplier1 * (c2[lane] & 0xFFFFFFFFu);
      c0[lane] = (product1 >> 32) ^ c1[lane] ^ key[0];
      c2[lane] = (product0 >> 32) ^ c3[lane] ^ key[1];
      c1[lane] = product1;
      c3[lane] = product0;
    }
    key[0] += Philox::kWeyl0;
    key[1] += Philox::kWeyl1;
  }
  // The upper 24 bits, as a float32 has.
  const auto bits = [](std::uint64_t number) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(number) >> 8);
  };
  constexpr float kTo01 = 0x1p-24f;
  for (int lane = 0; lane < kLanes; ++lane) {
    // (0, 1] for the radius: its logarithm is finite. -2 ln(u) = -2 ln(2) log2(u).
    const float u0 = static_cast<float>(bits(c0[lane]) + 1) * kTo01;
    const float u1 = static_cast<float>(bits(c2[lane]) + 1) * kTo01;
    const float angle0 = static_cast<float>(bits(c1[lane])) * kTo01;
    const float angle1 = static_cast<float>(bits(c3[lane])) * kTo01;
    const float square0 = -1.3862943611f * math::log2(u0);
    const float square1 = -1.3862943611f * math::log2(u1);
    const float radius0 = std::sqrt(square0 > 0.0f ? square0 : 0.0f);
    const float radius1 = std::sqrt(square1 > 0.0f ? square1 : 0.0f);
    float sine0, cosine0, sine1, cosine1;
    math::sincos_turns(angle0, sine0, cosine0);
    math::sincos_turns(angle1, sine1, cosine1);
    // NOLINTNEXTLINE(bugprone-implicit-widening-of-multiplication-result): at most 4 * kLanes
    out[4 * lane] = radius0 * cosine0;
    out[4 * lane + 1] = radius0 * sine0;
    out[4 * lane + 2] = radius1 * cosine1;
    out[4 * lane + 3] = radius1 * sine1;
  }
}

void add_scaled(float* HWY_RESTRICT out, const float* HWY_RESTRICT numbers, std::size_t count, float scale) {
  for (std::size_t i = 0; i < count; ++i) out[i] += scale * numbers[i];
}

}  // namespace
}  // namespace fastnnunet::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet {
namespace {

using HWY_NAMESPACE::kLanes;
FASTNNUNET_DISPATCH(normal_tile);
FASTNNUNET_DISPATCH(add_scaled);

// SplitMix64's finaliser: every bit of the input moves every bit of the output.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

void require_room(const char* what, std::uint64_t number, std::uint64_t most) {
  if (number >= most)
    throw InvalidArgument("random numbers", what + (" below " + std::to_string(most)), std::to_string(number));
}

}  // namespace

Stream::Stream(const SampleId& sample, std::uint32_t purpose) {
  require_room("a slot", sample.slot, kMostSlots);
  require_room("a purpose", purpose, kMostPurposes);
  require_room("an attempt", sample.attempt, kMostAttempts);
  require_room("a step", sample.step, kMostSteps);
  const std::uint64_t key = mix(mix(sample.seed) ^ ((std::uint64_t{sample.rank} << 32) | sample.role));
  key_ = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  // 2^32 blocks for each purpose; 2^48 steps, 2^16 slots, 2^20 purposes, 2^12 attempts.
  counter_ = {0, (sample.attempt << 20) | purpose, static_cast<std::uint32_t>(sample.step),
              static_cast<std::uint32_t>((sample.step >> 32) << 16) | sample.slot};
}

std::uint32_t Stream::next_uint32() {
  if (used_ == 4) {
    block_ = Philox::block(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t Stream::next_uint64() {
  const std::uint64_t low = next_uint32();
  return low | (std::uint64_t{next_uint32()} << 32);
}

double Stream::uniform() { return static_cast<double>(next_uint64() >> 11) * 0x1p-53; }

std::uint64_t Stream::below(std::uint64_t count) {
  if (count <= 1) return 0;
  if (count > 0xFFFFFFFFu) return next_uint64() % count;  // the bias is below 2^-31
  const auto range = static_cast<std::uint32_t>(count);
  std::uint64_t product = std::uint64_t{next_uint32()} * range;
  if (static_cast<std::uint32_t>(product) < range) {
    const std::uint32_t threshold = (0u - range) % range;
    while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{next_uint32()} * range;
  }
  return product >> 32;
}

double Stream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

void Stream::shuffle(std::span<std::int64_t> values) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
}

void Stream::add_normal(std::span<float> out, std::uint64_t first, float sigma) const {
  constexpr std::uint64_t kTile = 4 * kLanes;
  float numbers[kTile];
  std::uint64_t position = first;
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t tile = position / kTile;
    const std::uint64_t offset = position % kTile;
    normal_tile(key_, counter_, static_cast<std::uint32_t>(tile * kLanes), Philox::kNoiseRounds, numbers);
    const std::size_t count = std::min<std::uint64_t>(kTile - offset, out.size() - done);
    add_scaled(out.data() + done, numbers + offset, count, sigma);
    done += count;
    position += count;
  }
}

}  // namespace fastnnunet
#endif  // HWY_ONCE
