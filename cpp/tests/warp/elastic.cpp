#include "fastnnunet/warp/elastic.h"

#include <cmath>
#include <numbers>

#include "transforms/samples.h"

namespace fastnnunet::warp {
namespace {

using namespace testing;

std::vector<float> field(std::uint64_t seed, double sigma, double magnitude, const Index3& shape) {
  const auto count = static_cast<std::size_t>(voxels(shape));
  std::vector<float> between(count), small(2 * static_cast<std::size_t>(shape[1] * shape[2])), out(count);
  ElasticField elastic;
  elastic.draw(random::Stream(SampleId{.seed = seed}, 2), 0, sigma, magnitude, shape, between.data(), small.data(),
               out.data());
  return out;
}

// What all waves together do between two voxels of an axis: the filter, applied twice.
double twice(const Waves& waves, std::int64_t a, std::int64_t b) {
  double sum = 0;
  for (std::int64_t wave = 0; wave < waves.count(); ++wave)
    sum += static_cast<double>(waves.by_wave()[wave * waves.size() + a]) *
           static_cast<double>(waves.by_wave()[wave * waves.size() + b]);
  return sum;
}

TEST_CASE("elastic: waves have the response of a periodic Gaussian filter", "[transforms]") {
  for (const std::int64_t size : {1, 2, 3, 8, 9, 64})
    for (const double sigma : {0.0, 0.4, 1.7, 5.0, 40.0}) {
      CAPTURE(size, sigma);
      Waves waves;
      waves.build(size, sigma);
      CHECK(waves.count() <= size);
      for (std::int64_t distance = 0; distance < size; ++distance) {
        // exp(-sigma^2 w^2 / 2), squared, at every frequency of the discrete transform.
        double expected = 0;
        for (std::int64_t k = 0; k < size; ++k) {
          const double frequency = 2 * std::numbers::pi * static_cast<double>(std::min(k, size - k)) / double(size);
          expected += std::exp(-sigma * sigma * frequency * frequency) *
                      std::cos(2 * std::numbers::pi * static_cast<double>(k * distance) / double(size)) / double(size);
        }
        for (const std::int64_t from : {std::int64_t{0}, size / 2, size - 1})
          REQUIRE(twice(waves, from, (from + distance) % size) == Catch::Approx(expected).margin(1e-6));
      }
    }
}

TEST_CASE("elastic: the two tables of waves say the same", "[transforms]") {
  for (const std::int64_t size : {1, 2, 7, 12}) {
    Waves waves;
    waves.build(size, 0.3);
    for (std::int64_t at = 0; 2 * at <= size && at < size; ++at)
      for (std::int64_t wave = 0; wave < waves.count(); ++wave)
        REQUIRE(waves.by_voxel()[at * waves.count() + wave] == waves.by_wave()[wave * size + at]);
  }
}

TEST_CASE("elastic: a field is the sum of its waves", "[transforms]") {
  // Sizes around those that are summed up together.
  for (const Index3& shape : {Index3{1, 5, 7}, Index3{6, 17, 81}, Index3{5, 4, 64}, Index3{1, 1, 1}, Index3{3, 1, 2}})
    for (const double sigma : {0.3, 2.0}) {
      const std::vector<float> got = field(4, sigma, 1.0, shape);
      Waves x, y, z;
      x.build(shape[0], sigma);
      y.build(shape[1], sigma);
      z.build(shape[2], sigma);
      std::vector<float> noise(static_cast<std::size_t>(x.count() * y.count() * z.count()));
      random::Stream(SampleId{.seed = 4}, 2).add_normal(noise, 0, 1.0f);
      std::vector<double> expected;
      double most = 0;
      for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j)
          for (std::int64_t k = 0; k < shape[2]; ++k) {
            double sum = 0;
            std::size_t number = 0;
            for (std::int64_t a = 0; a < x.count(); ++a)
              for (std::int64_t b = 0; b < y.count(); ++b)
                for (std::int64_t c = 0; c < z.count(); ++c)
                  sum += static_cast<double>(noise[number++]) * double(x.by_wave()[a * shape[0] + i]) *
                         double(y.by_wave()[b * shape[1] + j]) * double(z.by_wave()[c * shape[2] + k]);
            expected.push_back(sum);
            most = std::max(most, std::abs(sum));
          }
      for (std::size_t i = 0; i < got.size(); ++i)
        REQUIRE(static_cast<double>(got[i]) == Catch::Approx(expected[i] / most).margin(3e-6));
    }
}

TEST_CASE("elastic: the largest displacement is the magnitude", "[transforms]") {
  const std::vector<float> got = field(1, 3.0, 2.5, {10, 11, 12});
  double low = 0, high = 0, mean = 0;
  survey(got.data(), std::ssize(got), low, high, mean);
  CHECK(std::max(-low, high) == Catch::Approx(2.5));
  double sum = 0;
  for (const float value : got) sum += static_cast<double>(value);
  CHECK(mean == Catch::Approx(sum / static_cast<double>(got.size())));
  CHECK(low == static_cast<double>(*std::min_element(got.begin(), got.end())));
  CHECK(high == static_cast<double>(*std::max_element(got.begin(), got.end())));
  CHECK(field(1, 3.0, 2.5, {10, 11, 12}) == got);
  CHECK(field(2, 3.0, 2.5, {10, 11, 12}) != got);
}

TEST_CASE("elastic: a field that is not finite is named", "[transforms]") {
  for (const float wrong : {std::nanf(""), INFINITY}) {
    std::vector<float> values(40, 1.0f);
    values[17] = wrong;
    double low = 0, high = 0, mean = 0;
    CHECK(has(message_of([&] { survey(values.data(), 40, low, high, mean); }), "elastic_offsets"));
  }
}

}  // namespace
}  // namespace fastnnunet::warp
