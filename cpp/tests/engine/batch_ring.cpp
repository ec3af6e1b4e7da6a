#include "fastnnunet/engine/batch_ring.h"

#include <bit>
#include <cstdint>
#include <thread>

#include "engine/cases.h"

namespace fastnnunet::engine {
namespace {

using namespace testing;

Layout layout_of_two_scales() {
  return {2, {4, 6, 8}, 3, {{TargetType::int16, 1, {4, 6, 8}}, {TargetType::boolean, 3, {2, 3, 4}}}, true};
}
constexpr std::size_t kBatchBytes = 2 * (2 * 192 * 4 + 192 * 2 + 3 * 24);

TEST_CASE("batch ring: a batch has room for every sample and every target", "[engine]") {
  const Layout layout = layout_of_two_scales();
  const auto ring = BatchRing::make(layout, 2, 10 * kBatchBytes, std::make_shared<OrdinaryMemory>());
  CHECK(ring->batch_bytes() == kBatchBytes);
  const auto batch = ring->acquire();
  REQUIRE(batch->targets.size() == 2);
  CHECK(reinterpret_cast<std::uintptr_t>(batch->data) % 64 == 0);
  for (const void* target : batch->targets) CHECK(reinterpret_cast<std::uintptr_t>(target) % 64 == 0);
  sample::Destination second;
  batch->locate(layout, 1, second);
  CHECK(second.image.data == batch->data + 2 * 192);
  CHECK(second.targets[0].data == static_cast<std::int16_t*>(batch->targets[0]) + 192);
  CHECK(second.targets[1].data == static_cast<std::uint8_t*>(batch->targets[1]) + 3 * 24);
  CHECK(second.targets[1].type == TargetType::boolean);
}

TEST_CASE("batch ring: memory comes back with the last reference, not before", "[engine]") {
  const auto memory = std::make_shared<CountedMemory>(true);
  const auto ring = BatchRing::make(layout_of_two_scales(), 2, 2 * kBatchBytes, memory);
  auto first = ring->acquire();
  const auto second = ring->acquire();
  CHECK(first->data != second->data);
  CHECK(ring->in_use() == 2);
  CHECK(ring->acquire() == nullptr);
  const float* data = first->data;
  // A tensor's reference is one to a part of the batch.
  std::shared_ptr<const float> tensor(first, first->data);
  first.reset();
  CHECK(ring->acquire() == nullptr);
  tensor.reset();
  CHECK(ring->in_use() == 1);
  const auto third = ring->acquire();
  REQUIRE(third != nullptr);
  CHECK(third->data == data);
  CHECK(memory->allocations() == 6);
}

TEST_CASE("batch ring: memory that a device may still read is given back, never written again", "[engine]") {
  const auto memory = std::make_shared<CountedMemory>(false);
  const auto ring = BatchRing::make(layout_of_two_scales(), 2, 2 * kBatchBytes, memory);
  for (int i = 0; i < 5; ++i) {
    const auto batch = ring->acquire();
    CHECK(memory->living() == 3);
  }
  CHECK(memory->living() == 0);
  CHECK(memory->allocations() == 15);
  CHECK(memory->errors() == 0);
}

TEST_CASE("batch ring: a batch outlives its ring", "[engine]") {
  const auto memory = std::make_shared<CountedMemory>(true);
  auto ring = BatchRing::make(layout_of_two_scales(), 2, 4 * kBatchBytes, memory);
  auto kept = ring->acquire();
  ring->acquire();  // comes back at once
  CHECK(memory->living() == 6);
  ring->close();
  CHECK(memory->living() == 3);
  ring.reset();
  kept->data[0] = 1.0f;
  kept.reset();
  CHECK(memory->living() == 0);
  CHECK(memory->errors() == 0);
}

TEST_CASE("batch ring: an allocation that fails leaves nothing behind", "[engine]") {
  class Failing final : public MemoryProvider {
   public:
    void* allocate(std::size_t bytes) override {
      if (++calls % 2 == 0) throw std::bad_alloc();
      ++living;
      return ordinary.allocate(bytes);
    }
    void release(void* memory, std::size_t bytes) noexcept override {
      --living;
      ordinary.release(memory, bytes);
    }
    bool rewritable() const override { return true; }
    OrdinaryMemory ordinary;
    int calls = 0, living = 0;
  };
  const auto memory = std::make_shared<Failing>();
  const auto ring = BatchRing::make(layout_of_two_scales(), 2, kBatchBytes, memory);
  CHECK_THROWS_AS(ring->acquire(), std::bad_alloc);
  CHECK(memory->living == 0);
  CHECK(ring->in_use() == 0);
}

TEST_CASE("batch ring: references may be dropped by any thread", "[engine]") {
  const auto ring = BatchRing::make(layout_of_two_scales(), 2, 4 * kBatchBytes, std::make_shared<OrdinaryMemory>());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        if (auto batch = ring->acquire()) batch->data[0] = static_cast<float>(i);
    });
  for (auto& thread : threads) thread.join();
  CHECK(ring->in_use() == 0);
}

TEST_CASE("batch ring: what memory takes counts for every tensor, and all of it goes back with the ring", "[engine]") {
  class Rounding final : public MemoryProvider {
   public:
    void* allocate(std::size_t bytes) override {
      ++living;
      return ordinary.allocate(bytes);
    }
    void release(void* memory, std::size_t bytes) noexcept override {
      --living;
      ordinary.release(memory, bytes);
    }
    std::size_t taken(std::size_t bytes) const override { return std::bit_ceil(bytes); }
    bool rewritable() const override { return true; }
    OrdinaryMemory ordinary;
    int living = 0;
  };
  const auto memory = std::make_shared<Rounding>();
  // Of 3072, 768 and 144 bytes.
  auto ring = BatchRing::make(layout_of_two_scales(), 2, 2 * (4096 + 1024 + 256) - 1, memory);
  CHECK(ring->batch_bytes() == 4096 + 1024 + 256);
  auto batch = ring->acquire();
  REQUIRE(batch != nullptr);
  CHECK(ring->acquire() == nullptr);
  batch.reset();
  CHECK(memory->living == 3);
  ring.reset();
  CHECK(memory->living == 0);
}

}  // namespace
}  // namespace fastnnunet::engine
