// Batches of every kind of tree, and every transform by itself, give the bits that were committed: with the loops of
// every instruction set, by every compiler. A digest that changes is a change of every user's batches. `tests/digests`
// does the same for nnU-Net's own trainers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>

#include "engine/cases.h"
#include "transforms/examples.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

// FNV-1a of 64 bits.
class Digest {
 public:
  template <typename T>
  void add(const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) hash_ = (hash_ ^ bytes[i]) * 0x100000001b3;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

using Digests = std::map<std::string, std::uint64_t>;

const Digests kCommitted = {
    // clang-format off
    {"tree: 2D", 0xe96c8cad01d3b265},
    {"tree: 2D, always", 0xfd8b51d26040787a},
    {"tree: 3D", 0x088aa02df946ed15},
    {"tree: 3D, always", 0x8e4ebe1e155f052f},
    {"tree: cascade", 0xa615abb187375f01},
    {"tree: cascade, always", 0x3b505a2237138716},
    {"tree: dummy 2D", 0x9e398d15697df1e2},
    {"tree: dummy 2D, always", 0x7485a1350d0acf1a},
    {"tree: intensity first", 0x539d03f29eff8969},
    {"tree: intensity first, always", 0x120ac8a8759e9783},
    {"tree: no target at full scale", 0xb60c4321c26b5521},
    {"tree: no target at full scale, always", 0xb49a3fe463ee3c02},
    {"tree: regions", 0x8bfa911d646365af},
    {"tree: regions, always", 0x81690672052a903d},
    {"tree: validation", 0x122211ad1a503e8a},
    {"leaf: BlankRectangleTransform", 0xb8b394031256322e},
    {"leaf: BrightnessAdditiveTransform", 0x2c9f0afaed6ee15b},
    {"leaf: BrightnessGradientAdditiveTransform", 0x1c166732eca7ec43},
    {"leaf: ChannelMisalignmentTransform", 0xf29665dbf8c902a2},
    {"leaf: CutOffOutliersTransform", 0xbfe0effafd12d148},
    {"leaf: InvertImageTransform", 0x5cc2ad5a13e9ea1d},
    {"leaf: LocalContrastTransform", 0xb0730df84b7bd02a},
    {"leaf: LocalGammaTransform", 0x7000969104660cea},
    {"leaf: LocalSmoothingTransform", 0x2a45122dc2aebad8},
    {"leaf: MaskImageTransform", 0x72f8e0a9a19adca5},
    {"leaf: MedianFilterTransform", 0xdfc589cdb6762961},
    {"leaf: MoveChannelsTransform", 0xa94020ed656ac38d},
    {"leaf: RicianNoiseTransform", 0xa2c94d76980c96ed},
    {"leaf: Rot90Transform", 0xce52bb6568e9b255},
    {"leaf: SharpeningTransform", 0x77b1dc046754e279},
    {"leaf: SpatialTransform", 0x14b3e3f30bc2cb32},
    {"leaf: SpatialTransform'", 0xacd36264c5c40008},
    {"leaf: SpatialTransform''", 0x5b86b6e6f86aab14},
    {"leaf: TransposeAxesTransform", 0x54e17092534b2251},
    // clang-format on
};

// Of the C library's mathematics: what the functions that the core calls give, to the last bit.
std::uint64_t libm() {
  std::vector<double> values;
  for (int i = 0; i < 20000; ++i) {
    const double x = 0.001 + i * 0.00037;
    for (const double value : {std::sin(x), std::cos(x), std::exp(x), std::log(x), std::erf(x), std::pow(x, 1.7)})
      values.push_back(value);
  }
  Digest digest;
  digest.add(values);
  return digest.value();
}

// glibc's on x86-64 with fused multiply-add, and without, and on aarch64. With another, only what calls none of its
// functions is compared (docs/parity.md).
constexpr std::uint64_t kKnownLibm[] = {0xd8b08668cdf9e08d, 0x0be3025f71ccd50f, 0xdea37e0fd31d9212};
constexpr const char* kWithoutLibm[] = {
    "tree: validation",     "leaf: MaskImageTransform",    "leaf: MedianFilterTransform", "leaf: MoveChannelsTransform",
    "leaf: Rot90Transform", "leaf: TransposeAxesTransform"};

// Says what differs in the form of the table, to be pasted after a change that is meant.
void check(const Digests& found) {
  const std::uint64_t here = libm();
  const bool known = std::find(std::begin(kKnownLibm), std::end(kKnownLibm), here) != std::end(kKnownLibm);
  if (!known) WARN("another C library's mathematics: " << std::hex << here);
  std::string different;
  for (const auto& [name, digest] : found) {
    const auto expected = kCommitted.find(name);
    if (expected != kCommitted.end() && expected->second == digest) continue;
    if (!known && std::find(std::begin(kWithoutLibm), std::end(kWithoutLibm), name) == std::end(kWithoutLibm)) continue;
    char line[200];
    std::snprintf(line, sizeof(line), "    {\"%s\", 0x%016llx},\n", name.c_str(),
                  static_cast<unsigned long long>(digest));
    different += line;
  }
  CHECK(different == "");
}

Digests of_trees() {
  Digests digests;
  const Cases cases(4);
  for (const TreeKind kind : kTreeKinds)
    for (const bool always : {false, true}) {
      if (always && kind == TreeKind::validation) continue;  // nothing is drawn there
      LoaderOptions options = options_for(cases, 2, 3, kind);
      if (kind == TreeKind::plane_2d) options.dims = 2;
      if (kind == TreeKind::cascade)
        for (CaseFiles& files : options.cases) files.previous = files.segmentation;
      Loader loader(options, std::make_shared<pipeline::Pipeline>(make_tree(kind, always ? 1.0 : 0.0)), some_locations,
                    std::make_shared<OrdinaryMemory>());
      Digest digest;
      for (const Content& content : take(loader, 4)) {
        digest.add(content.cases);
        digest.add(content.image);
        for (const auto& target : content.targets) digest.add(target);
      }
      digests[std::string("tree: ") + name_of(kind) + (always ? ", always" : "")] = digest.value();
    }
  return digests;
}

Digests of_leaves() {
  Digests digests;
  const Data data = data_of(2, {25, 30, 30}, 2);
  for (const auto& [name, attributes] : example_leaves()) {
    const pipeline::Pipeline pipeline(pipeline::Node::leaf(transforms::make_transform(name, attributes)));
    Digest digest;
    sample::Workspace workspace;
    for (std::uint64_t step = 0; step < 4; ++step) {
      sample::Sample sample(workspace);
      sample::ArraySource<float> image({data.image.data(), data.channels(), data.shape});
      sample::ArraySource<std::int16_t> labels({data.labels.data(), data.label_channels(), data.shape});
      sample.begin(image, &labels, 3, nullptr);
      pipeline::Plan plan;
      pipeline.draw(SampleId{.seed = 7, .step = step}, sample.geometry(), plan);
      pipeline.run(sample, plan);
      const Data out = finished(sample);
      digest.add(out.image);
      for (const auto& target : out.content) digest.add(target);
    }
    std::string key = "leaf: " + name;
    while (digests.contains(key)) key += "'";
    digests[key] = digest.value();
  }
  return digests;
}

TEST_CASE("digests: batches of every kind of tree are the committed ones", "[engine]") { check(of_trees()); }

TEST_CASE("digests: every transform gives the committed bits", "[engine]") {
  check(of_leaves());
  // Each is in a tree, or has a digest of its own.
  std::string trees;
  for (const TreeKind kind : kTreeKinds) {
    const pipeline::Pipeline pipeline(make_tree(kind));
    for (std::size_t leaf = 0; leaf < pipeline.leaves(); ++leaf) trees += std::string(pipeline.leaf(leaf).name()) + " ";
  }
  for (const auto& [name, make] : transforms::transform_table()) {
    CAPTURE(name);
    CHECK((has(trees, std::string(name) + " ") || kCommitted.contains("leaf: " + std::string(name))));
  }
}

}  // namespace
}  // namespace fastnnunet::engine
