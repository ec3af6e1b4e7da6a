// RemoveRandomConnectedComponentFromOneHotEncodingTransform: a random connected component of a previous stage's one-hot
// channel vanishes, or becomes another class.
//
// Components are found on runs of voxels along Z: there are far fewer runs than voxels.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "fastnnunet/base/error.h"
#include "fastnnunet/transforms/channels.h"

namespace fastnnunet::transforms {
namespace {

constexpr const char* kName = "RemoveRandomConnectedComponentFromOneHotEncodingTransform";

// Voxels begin <= z < end of one row. `parent` is a run of the same component that stands before it, or itself; after
// labelling it is the component's first run. The first run also holds the size.
struct Run {
  std::int32_t begin, end;
  std::uint32_t parent;
  std::uint32_t size;
};

class Components {
 public:
  // The memory that the components of one channel can take at the most.
  static std::int64_t most_runs(const Index3& shape) { return shape[0] * shape[1] * ((shape[2] + 1) / 2); }
  static std::int64_t offsets(const Index3& shape) { return shape[0] * shape[1] + 1; }

  Components(const float* voxels, const Index3& shape, Run* runs, std::uint32_t* rows)
      : shape_(shape), runs_(runs), rows_(rows) {
    std::uint32_t count = 0;
    for (std::int64_t x = 0; x < shape[0]; ++x)
      for (std::int64_t y = 0; y < shape[1]; ++y) {
        const std::int64_t row = x * shape[1] + y;
        rows_[row] = count;
        count = add_row(voxels + row * shape[2], count);
        rows_[row + 1] = count;
        // Neighbours share a face, an edge or a corner.
        if (y > 0) join(row, row - 1);
        if (x == 0) continue;
        for (std::int64_t beside = std::max<std::int64_t>(y - 1, 0); beside <= std::min(y + 1, shape[1] - 1); ++beside)
          join(row, (x - 1) * shape[1] + beside);
      }
    for (std::uint32_t i = 0; i < count; ++i) {
      // Parents stand before their children and are done.
      runs_[i].parent = runs_[runs_[i].parent].parent;
      runs_[runs_[i].parent].size += static_cast<std::uint32_t>(runs_[i].end - runs_[i].begin);
    }
    count_ = count;
  }

  // The first run of the component that `u` in [0, 1) chooses among those below `limit` voxels, in the order of their
  // first voxels, which is that of the labels in batchgeneratorsv2; -1 where there is none.
  std::int64_t choose(double u, double limit) const {
    const auto eligible = [&](std::uint32_t i) {
      return runs_[i].parent == i && static_cast<double>(runs_[i].size) < limit;
    };
    std::int64_t candidates = 0;
    for (std::uint32_t i = 0; i < count_; ++i) candidates += eligible(i);
    if (candidates == 0) return -1;
    auto chosen = std::min(static_cast<std::int64_t>(u * static_cast<double>(candidates)), candidates - 1);
    for (std::uint32_t i = 0; i < count_; ++i)
      if (eligible(i) && chosen-- == 0) return i;
    return -1;
  }

  void fill(std::int64_t component, float* voxels, float value) const {
    for (std::int64_t row = 0; row < shape_[0] * shape_[1]; ++row)
      for (std::uint32_t i = rows_[row]; i < rows_[row + 1]; ++i)
        if (runs_[i].parent == component)
          std::fill(voxels + row * shape_[2] + runs_[i].begin, voxels + row * shape_[2] + runs_[i].end, value);
  }

 private:
  std::uint32_t add_row(const float* voxels, std::uint32_t count) {
    const auto length = static_cast<std::int32_t>(shape_[2]);
    for (std::int32_t z = 0; z < length;) {
      if (voxels[z] == 0.0f) {
        ++z;
        continue;
      }
      const std::int32_t begin = z;
      while (z < length && voxels[z] != 0.0f) ++z;
      runs_[count] = {begin, z, count, 0};
      ++count;
    }
    return count;
  }

  std::uint32_t root(std::uint32_t i) {
    while (runs_[i].parent != i) {
      runs_[i].parent = runs_[runs_[i].parent].parent;
      i = runs_[i].parent;
    }
    return i;
  }

  // Unites the runs of two rows that touch, with a step along Z allowed between them.
  void join(std::int64_t row, std::int64_t other) {
    std::uint32_t a = rows_[row], b = rows_[other];
    while (a < rows_[row + 1] && b < rows_[other + 1]) {
      if (runs_[a].begin <= runs_[b].end && runs_[b].begin <= runs_[a].end) {
        const std::uint32_t root_a = root(a), root_b = root(b);
        runs_[std::max(root_a, root_b)].parent = std::min(root_a, root_b);
      }
      // The run that ends first touches no later one; the other may.
      if (runs_[a].end < runs_[b].end)
        ++a;
      else
        ++b;
    }
  }

  Index3 shape_;
  Run* runs_;
  std::uint32_t* rows_;  // the number of each row's first run
  std::uint32_t count_ = 0;
};

struct RemoveParameters : Parameters {
  std::vector<std::int64_t> channels;  // as the attribute has them: may count from the end
  // One of each for each channel.
  std::vector<double> component_u;  // chooses the component
  std::vector<std::int64_t> fill;   // whether another class takes its place
  std::vector<double> other_u;      // chooses that class
};

class RemoveRandomConnectedComponent final : public TransformOf<RemoveParameters> {
 public:
  explicit RemoveRandomConnectedComponent(const Record& attributes)
      : channels_(attributes.integers("channel_idx")),
        fill_probability_(attributes.probability("fill_with_other_class_p")),
        largest_share_(attributes.number("dont_do_if_covers_more_than_x_percent")),
        probability_(attributes.probability("p_per_label")) {}

  std::string_view name() const override { return kName; }

  sample::Workspace::ScratchSizes scratch_bytes(const Geometry& geometry) const override {
    return {static_cast<std::size_t>(Components::most_runs(geometry.shape)) * sizeof(Run),
            static_cast<std::size_t>(Components::offsets(geometry.shape)) * sizeof(std::uint32_t)};
  }

 protected:
  void draw(random::Stream& stream, const Geometry&, RemoveParameters& p) const override {
    p.channels.clear();
    p.component_u.clear();
    p.fill.clear();
    p.other_u.clear();
    std::vector<std::int64_t> order = channels_;
    stream.shuffle(order);
    for (const std::int64_t channel : order)
      if (stream.bernoulli(probability_)) p.channels.push_back(channel);
    // How many components there are is known only later: numbers that choose among any.
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      p.component_u.push_back(stream.uniform());
      p.fill.push_back(stream.bernoulli(fill_probability_) ? 1 : 0);
      p.other_u.push_back(stream.uniform());
    }
  }

  bool acts(const RemoveParameters& p) const override { return !p.channels.empty(); }

  void apply(sample::Sample& sample, const RemoveParameters& p, const Work&) const override {
    sample::Array<float>& image = sample.image();
    const Index3& shape = image.shape;
    Run* runs = sample.workspace().scratch<Run>(0, Components::most_runs(shape));
    std::uint32_t* rows = sample.workspace().scratch<std::uint32_t>(1, Components::offsets(shape));
    std::vector<std::int64_t> others;
    for (std::size_t i = 0; i < p.channels.size(); ++i) {
      const std::int64_t channel = resolve_channel(kName, "channel_idx", p.channels[i], image.channels);
      const Components components(image.channel(channel), shape, runs, rows);
      const std::int64_t component =
          components.choose(p.component_u[i], static_cast<double>(voxels(shape)) * largest_share_);
      if (component < 0) continue;
      components.fill(component, image.channel(channel), 0.0f);
      if (p.fill[i] == 0) continue;
      others.clear();
      for (const std::int64_t index : channels_)
        if (const std::int64_t other = resolve_channel(kName, "channel_idx", index, image.channels); other != channel)
          others.push_back(other);
      if (others.empty()) continue;
      const auto chosen = static_cast<std::size_t>(p.other_u[i] * static_cast<double>(others.size()));
      components.fill(component, image.channel(others[std::min(chosen, others.size() - 1)]), 1.0f);
    }
  }

  Record describe(const RemoveParameters& p) const override {
    Record record{std::string(name())};
    record.set("apply_to_channels", to_numbers(p.channels));
    record.set("component_u", p.component_u);
    record.set("fill", to_numbers(p.fill));
    record.set("other_u", p.other_u);
    return record;
  }

  void restore(const Record& record, const Geometry& geometry, RemoveParameters& p) const override {
    p.channels = restore_channels(record, "apply_to_channels", geometry);
    p.component_u = record.numbers("component_u");
    p.fill = record.integers("fill");
    p.other_u = record.numbers("other_u");
    for (const std::size_t size : {p.component_u.size(), p.fill.size(), p.other_u.size()})
      if (size != p.channels.size())
        throw InvalidArgument(
            kName, "'component_u', 'fill' and 'other_u' for each of " + std::to_string(p.channels.size()) + " channels",
            std::to_string(size));
    for (const auto* numbers : {&p.component_u, &p.other_u})
      for (const double u : *numbers)
        if (!(u >= 0.0 && u < 1.0))
          throw InvalidArgument(kName, "'component_u' and 'other_u' in [0, 1)", std::to_string(u));
  }

 private:
  std::vector<std::int64_t> channels_;
  double fill_probability_;
  double largest_share_;
  double probability_;
};

}  // namespace

std::unique_ptr<Transform> make_remove_random_connected_component(const Record& attributes) {
  return std::make_unique<RemoveRandomConnectedComponent>(attributes);
}

}  // namespace fastnnunet::transforms
