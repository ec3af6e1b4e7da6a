// ApplyRandomBinaryOperatorTransform: dilates, erodes, closes or opens one-hot channels of a previous stage with a ball
// (3D) or a disk (2D). Voxels that a channel gains are taken from the other channels.
//
// Rows along Z are packed into bits, 64 voxels a word, so that a structuring element is a few hundred whole-row ORs.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"

#define HWY_TARGET_INCLUDE "fastnnunet/transforms/nnunet/random_binary_operator.cpp"
#include "fastnnunet/base/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace fastnnunet::transforms::HWY_NAMESPACE {
namespace {

void unpack_word(std::uint64_t word, float* out, std::int64_t count) {
  for (std::int64_t z = 0; z < count; ++z) out[z] = static_cast<float>(static_cast<std::int32_t>((word >> z) & 1u));
}

void merge(const std::uint64_t* HWY_RESTRICT from, std::uint64_t* HWY_RESTRICT into, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) into[i] |= from[i];
}

}  // namespace
}  // namespace fastnnunet::transforms::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fastnnunet::transforms {
namespace {

FASTNNUNET_DISPATCH(unpack_word);
FASTNNUNET_DISPATCH(merge);

constexpr const char* kName = "ApplyRandomBinaryOperatorTransform";
constexpr std::int64_t kWord = 64;
constexpr double kLargestRadius = 1000.0;

enum Operator : std::int64_t { kDilation, kErosion, kClosing, kOpening, kOperators };

// Offsets (x, y, z) of one row of a structuring element: low <= z <= high.
struct ElementRow {
  std::int64_t x, y, low, high;
};

// Along one axis, the coordinates of a structuring element's voxels relative to its real centre.
struct Coordinates {
  std::vector<double> squares;
  std::int64_t origin;  // the voxel that lies on the one being computed

  explicit Coordinates(std::size_t count) : squares(count), origin((static_cast<std::int64_t>(count) - 1) / 2) {}
};

// scikit-image's ball: int(2 r + 1) points from -r to r, spread evenly. A fractional radius gives spacings other than
// 1, an even number of points no point in the middle.
Coordinates ball_coordinates(double radius) {
  const auto count = static_cast<std::size_t>(2.0 * radius + 1.0);
  Coordinates c(count);
  const double step = count > 1 ? (radius + radius) / static_cast<double>(count - 1) : 1.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double at = static_cast<double>(i) * step - radius;
    c.squares[i] = at * at;
  }
  return c;
}

// scikit-image's disk: points from -r in steps of 1 as long as they are below r + 1. For a fractional radius it is not
// symmetric.
Coordinates disk_coordinates(double radius) {
  const double first = -radius;
  const double second = first + 1.0;
  Coordinates c(static_cast<std::size_t>(std::ceil(radius + 1.0 - first)));
  for (std::size_t i = 0; i < c.squares.size(); ++i) {
    const double at = i == 1 ? second : first + static_cast<double>(i) * (second - first);
    c.squares[i] = at * at;
  }
  return c;
}

// Rows with the same extent along Z stand together. The order of the additions is scikit-image's: it decides about
// voxels on the surface.
std::vector<ElementRow> structuring_element(double radius, int dims) {
  const Coordinates c = dims == 2 ? disk_coordinates(radius) : ball_coordinates(radius);
  const auto count = std::ssize(c.squares);
  const auto square = [&](std::int64_t i) { return c.squares[static_cast<std::size_t>(i)]; };
  std::vector<ElementRow> rows;
  for (std::int64_t x = 0; x < (dims == 2 ? 1 : count); ++x)
    for (std::int64_t y = 0; y < count; ++y) {
      const auto inside = [&](std::int64_t z) {
        const double in_plane = square(z) + square(y);
        return (dims == 2 ? in_plane : in_plane + square(x)) <= radius * radius;
      };
      std::int64_t low = 0, high = count - 1;
      while (low <= high && !inside(low)) ++low;
      while (low <= high && !inside(high)) --high;
      if (low <= high) rows.push_back({dims == 2 ? 0 : x - c.origin, y - c.origin, low - c.origin, high - c.origin});
    }
  std::sort(rows.begin(), rows.end(), [](const ElementRow& a, const ElementRow& b) {
    return std::pair(a.low, a.high) < std::pair(b.low, b.high);
  });
  return rows;
}

// A binary image, bit z % 64 of word z / 64 of row (x, y). Bits behind the end of a row are 0.
struct Bits {
  Index3 shape;
  std::int64_t words;  // of a row

  explicit Bits(const Index3& of) : shape(of), words((of[2] + kWord - 1) / kWord) {}
  std::int64_t rows() const { return shape[0] * shape[1]; }
  std::int64_t size() const { return rows() * words; }
  // The bits of a row's last word that stand for voxels.
  std::uint64_t last() const { return shape[2] % kWord == 0 ? ~0ull : (1ull << (shape[2] % kWord)) - 1; }
};

void pack(const Bits& bits, const float* voxels, std::uint64_t* out) {
  for (std::int64_t row = 0; row < bits.rows(); ++row, voxels += bits.shape[2])
    for (std::int64_t word = 0; word < bits.words; ++word) {
      const float* from = voxels + word * kWord;
      const std::int64_t count = std::min(kWord, bits.shape[2] - word * kWord);
      std::uint64_t packed = 0;
      for (std::int64_t z = 0; z < count; ++z) packed |= std::uint64_t{from[z] != 0.0f} << z;
      *out++ = packed;
    }
}

void complement(const Bits& bits, std::uint64_t* values) {
  for (std::int64_t row = 0; row < bits.rows(); ++row, values += bits.words) {
    for (std::int64_t word = 0; word < bits.words; ++word) values[word] = ~values[word];
    values[bits.words - 1] &= bits.last();
  }
}

// out[z] = OR of in[z + d] over low <= d <= high, row by row.
void spread(const Bits& bits, const std::uint64_t* in, std::uint64_t* out, std::int64_t low, std::int64_t high) {
  std::fill_n(out, bits.size(), 0);
  for (std::int64_t d = std::max(low, 1 - bits.shape[2]); d <= std::min(high, bits.shape[2] - 1); ++d) {
    const std::int64_t whole = d >= 0 ? d / kWord : -((-d + kWord - 1) / kWord);  // floor
    const auto part = static_cast<unsigned>(d - whole * kWord);
    for (std::int64_t row = 0; row < bits.rows(); ++row) {
      const std::uint64_t* from = in + row * bits.words;
      std::uint64_t* to = out + row * bits.words;
      const auto word_at = [&](std::int64_t i) { return i >= 0 && i < bits.words ? from[i] : 0; };
      for (std::int64_t word = 0; word < bits.words; ++word) {
        std::uint64_t moved = word_at(word + whole) >> part;
        if (part > 0) moved |= word_at(word + whole + 1) << (kWord - part);
        to[word] |= moved;
      }
    }
  }
  for (std::int64_t row = 0; row < bits.rows(); ++row) out[(row + 1) * bits.words - 1] &= bits.last();
}

// out[v] = OR of in[v + offset] over the element; outside of the image is 0. `scratch` has the size of the others.
void dilate(const Bits& bits, const std::vector<ElementRow>& element, const std::uint64_t* in, std::uint64_t* out,
            std::uint64_t* scratch) {
  std::fill_n(out, bits.size(), 0);
  const ElementRow* before = nullptr;
  for (const ElementRow& row : element) {
    const std::int64_t first = std::max<std::int64_t>(0, -row.y);
    const std::int64_t count = bits.shape[1] - std::abs(row.y);
    if (count <= 0 || std::abs(row.x) >= bits.shape[0]) continue;
    if (before == nullptr || before->low != row.low || before->high != row.high)
      spread(bits, in, scratch, row.low, row.high);
    before = &row;
    for (std::int64_t x = std::max<std::int64_t>(0, -row.x); x < std::min(bits.shape[0], bits.shape[0] - row.x); ++x) {
      const std::int64_t from = (x + row.x) * bits.shape[1] + first + row.y;
      merge(scratch + from * bits.words, out + (x * bits.shape[1] + first) * bits.words, count * bits.words);
    }
  }
}

struct OperatorParameters : Parameters {
  std::vector<std::int64_t> channels;   // as the attribute has them: may count from the end
  std::vector<std::int64_t> operators;  // one for each of these, as the radii
  std::vector<double> radii;
};

class ApplyRandomBinaryOperator final : public TransformOf<OperatorParameters> {
 public:
  explicit ApplyRandomBinaryOperator(const Record& attributes)
      : channels_(attributes.integers("channel_idx")),
        radius_(attributes.scalar("strel_size")),
        probability_(attributes.probability("p_per_label")),
        operators_(attributes.integers("operators")) {
    if (operators_.empty()) throw InvalidArgument(kName, "'operators' to hold at least one", "none");
    for (const std::int64_t code : operators_) check_operator(code);
  }

  std::string_view name() const override { return kName; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    const std::size_t packed = static_cast<std::size_t>(Bits(geometry.shape).size()) * sizeof(std::uint64_t);
    return {packed, packed, packed, packed};
  }

 protected:
  void draw(random::Stream& stream, const Geometry& geometry, OperatorParameters& p) const override {
    p.channels.clear();
    p.operators.clear();
    p.radii.clear();
    // In random order, for what one channel gains another one loses.
    std::vector<std::int64_t> order = channels_;
    stream.shuffle(order);
    for (const std::int64_t channel : order)
      if (stream.bernoulli(probability_)) p.channels.push_back(channel);
    for (const std::int64_t channel : p.channels) {
      p.operators.push_back(operators_[stream.below(operators_.size())]);
      p.radii.push_back(radius_.draw(stream, {geometry, channel, std::nullopt}));
    }
  }

  bool acts(const OperatorParameters& p) const override { return !p.channels.empty(); }

  void apply(sample::Sample& sample, const OperatorParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      check_radius(p.radii[i]);
      apply_one(sample, image, resolve_channel(kName, "channel_idx", p.channels[i], image.channels), p.operators[i],
                p.radii[i]);
    }
  }

  Record describe(const OperatorParameters& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channels", to_numbers(p.channels));
    record.set("operators", to_numbers(p.operators));
    record.set("strel_size", p.radii);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, OperatorParameters& p) const override {
    p.channels = restore_channels(record, "apply_to_channels", geometry);
    p.operators = record.integers("operators");
    p.radii = record.numbers("strel_size");
    if (p.operators.size() != p.channels.size() || p.radii.size() != p.channels.size())
      throw InvalidArgument(
          kName, "an operator and a size for each of " + std::to_string(p.channels.size()) + " channels",
          std::to_string(p.operators.size()) + " operators and " + std::to_string(p.radii.size()) + " sizes");
    for (const std::int64_t code : p.operators) check_operator(code);
    for (const double radius : p.radii) check_radius(radius);
  }

 private:
  static void check_operator(std::int64_t code) {
    if (code < 0 || code >= kOperators)
      throw InvalidArgument(kName, "'operators' of 0 (dilation), 1 (erosion), 2 (closing) or 3 (opening)",
                            std::to_string(code));
  }

  static void check_radius(double radius) {
    if (!(radius >= 0.0 && radius <= kLargestRadius))
      throw InvalidArgument(kName, "'strel_size' between 0 and 1000", std::to_string(radius));
  }

  void apply_one(sample::Sample& sample, sample::Array<float>& image, std::int64_t channel, std::int64_t code,
                 double radius) const {
    const Bits bits(image.shape);
    sample::Workspace& workspace = sample.workspace();
    std::uint64_t* before = workspace.scratch<std::uint64_t>(0, bits.size());
    std::uint64_t* now = workspace.scratch<std::uint64_t>(1, bits.size());
    std::uint64_t* next = workspace.scratch<std::uint64_t>(2, bits.size());
    std::uint64_t* scratch = workspace.scratch<std::uint64_t>(3, bits.size());
    pack(bits, image.channel(channel), before);
    std::copy_n(before, bits.size(), now);

    const std::vector<ElementRow> element = structuring_element(radius, sample.dims());
    const auto dilation = [&] {
      dilate(bits, element, now, next, scratch);
      std::swap(now, next);
    };
    const auto erosion = [&] {
      complement(bits, now);
      dilation();
      complement(bits, now);
    };
    if (code == kErosion || code == kOpening) erosion();
    if (code != kErosion) dilation();
    if (code == kClosing) erosion();

    for (const std::int64_t index : channels_) {
      const std::int64_t other = resolve_channel(kName, "channel_idx", index, image.channels);
      if (other != channel) clear_added(bits, before, now, image.channel(other));
    }
    float* voxels = image.channel(channel);
    for (std::int64_t row = 0; row < bits.rows(); ++row)
      for (std::int64_t word = 0; word < bits.words; ++word)
        unpack_word(now[row * bits.words + word], voxels + row * bits.shape[2] + word * kWord,
                    std::min(kWord, bits.shape[2] - word * kWord));
  }

  static void clear_added(const Bits& bits, const std::uint64_t* before, const std::uint64_t* now, float* voxels) {
    for (std::int64_t row = 0; row < bits.rows(); ++row)
      for (std::int64_t word = 0; word < bits.words; ++word) {
        const std::int64_t at = row * bits.words + word;
        float* to = voxels + row * bits.shape[2] + word * kWord;
        for (std::uint64_t added = now[at] & ~before[at]; added != 0; added &= added - 1)
          to[std::countr_zero(added)] = 0.0f;
      }
  }

  std::vector<std::int64_t> channels_;
  Scalar radius_;
  double probability_;
  std::vector<std::int64_t> operators_;
};

}  // namespace

std::unique_ptr<Transform> make_apply_random_binary_operator(const Record& attributes) {
  return std::make_unique<ApplyRandomBinaryOperator>(attributes);
}

}  // namespace fastnnunet::transforms
#endif  // HWY_ONCE
