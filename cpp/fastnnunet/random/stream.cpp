#include "fastnnunet/random/stream.h"

#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>

#include "fastnnunet/base/error.h"

#define HWY_TARGET_INCLUDE "fastnnunet/random/stream.cpp"
#include "fastnnunet/base/simd/targets.h"
#include "fastnnunet/base/simd/vector_math.h"
#include "fastnnunet/base/simd/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::random::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace math = simd::HWY_NAMESPACE::math;
using simd::HWY_NAMESPACE::each_vector;

// Box-Muller on so many blocks at a time, laid out so that a compiler sees plain loops over lanes: enough to keep the
// widest vector units busy. Numbers 4*b..4*b+3 of the field come from block b, however many are done at once.
constexpr int kLanes = 64;

// Philox on the blocks of so many vectors at once, whose products wait for each other less than those of one. 32 bits
// in lanes of 64, for that is how wide their products are; what is above them is not looked at. Bits 8 to 31 go to
// `bits`, a row for each of a block's four numbers. The number of rounds is not a constant here: a loop that is
// unrolled runs out of registers.
constexpr int kAtOnce = 2;

HWY_INLINE void philox(Philox::Key key, const Philox::Counter& counter, std::uint32_t first_block, int rounds,
                       std::uint32_t (&bits)[4][kLanes]) {
  const hn::ScalableTag<std::uint64_t> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kVector = hn::MaxLanes(hn::ScalableTag<std::uint64_t>());
  const auto product = [&](V a, V b) HWY_ATTR {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(d, hn::GetLane(a) * (hn::GetLane(b) & 0xFFFFFFFFu));
#else
    const hn::Repartition<std::uint32_t, decltype(d)> words;
    return hn::MulEven(hn::BitCast(words, a), hn::BitCast(words, b));
#endif
  };
  const V multiplier0 = hn::Set(d, Philox::kMultiplier0), multiplier1 = hn::Set(d, Philox::kMultiplier1);
  alignas(64) std::uint64_t numbers[kVector];
  for (int lane = 0; lane < kLanes; lane += kAtOnce * kVector) {
    V c0[kAtOnce], c1[kAtOnce], c2[kAtOnce], c3[kAtOnce];
    for (int v = 0; v < kAtOnce; ++v) {
      c0[v] = hn::Add(hn::Iota(d, 0), hn::Set(d, first_block + static_cast<std::uint64_t>(lane + v * kVector)));
      c1[v] = hn::Set(d, counter[1]);
      c2[v] = hn::Set(d, counter[2]);
      c3[v] = hn::Set(d, counter[3]);
    }
    Philox::Key round_key = key;
    for (int round = 0; round < rounds; ++round) {
      const V key0 = hn::Set(d, round_key[0]), key1 = hn::Set(d, round_key[1]);
      for (int v = 0; v < kAtOnce; ++v) {
        const V product0 = product(multiplier0, c0[v]), product1 = product(multiplier1, c2[v]);
        c0[v] = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), c1[v]), key0);
        c2[v] = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3[v]), key1);
        c1[v] = product1;
        c3[v] = product0;
      }
      round_key[0] += Philox::kWeyl0;
      round_key[1] += Philox::kWeyl1;
    }
    for (int v = 0; v < kAtOnce; ++v) {
      const V all[4] = {c0[v], c1[v], c2[v], c3[v]};
      for (int number = 0; number < 4; ++number) {
        hn::Store(all[number], d, numbers);
        for (int i = 0; i < kVector; ++i)
          bits[number][lane + v * kVector + i] = static_cast<std::uint32_t>(numbers[i]) >> 8;
      }
    }
  }
}

void normal_tile(Philox::Key key, const Philox::Counter& counter, std::uint32_t first_block, int rounds,
                 float* HWY_RESTRICT out) {
  alignas(64) std::uint32_t bits[4][kLanes];
  philox(key, counter, first_block, rounds, bits);
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> ints;
  for (int lane = 0; lane < kLanes; lane += static_cast<int>(hn::Lanes(d))) {
    // The upper 24 bits, as a float32 has. (0, 1] for the radius: its logarithm is finite.
    const auto number = [&](int of, std::int32_t more) HWY_ATTR {
      const auto whole = hn::BitCast(ints, hn::LoadU(hn::RebindToUnsigned<decltype(d)>(), bits[of] + lane));
      return hn::Mul(hn::ConvertTo(d, hn::Add(whole, hn::Set(ints, more))), hn::Set(d, 0x1p-24f));
    };
    // -2 ln(u) = -2 ln(2) log2(u)
    const auto radius = [&](auto share) HWY_ATTR {
      const auto square = hn::Mul(hn::Set(d, -1.3862943611f), math::log2(d, share));
      return hn::Sqrt(hn::IfThenElseZero(hn::Gt(square, hn::Zero(d)), square));
    };
    const auto radius0 = radius(number(0, 1)), radius1 = radius(number(2, 1));
    auto sine0 = radius0, cosine0 = radius0, sine1 = radius0, cosine1 = radius0;
    math::sincos_turns(d, number(1, 0), sine0, cosine0);
    math::sincos_turns(d, number(3, 0), sine1, cosine1);
    hn::StoreInterleaved4(hn::Mul(radius0, cosine0), hn::Mul(radius0, sine0), hn::Mul(radius1, cosine1),
                          hn::Mul(radius1, sine1), d, out + 4 * lane);
  }
}

void add_scaled(float* HWY_RESTRICT out, const float* HWY_RESTRICT numbers, std::size_t count, float scale) {
  each_vector<float>(static_cast<std::int64_t>(count), [&](auto d, std::int64_t i) HWY_ATTR {
    const auto scaled = hn::Mul(hn::Set(d, scale), hn::LoadU(d, numbers + i));
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), scaled), d, out + i);
  });
}

}  // namespace
}  // namespace fastnnunet::random::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::random {
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

}  // namespace fastnnunet::random
#endif  // HWY_ONCE
