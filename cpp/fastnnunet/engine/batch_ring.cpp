#include "fastnnunet/engine/batch_ring.h"

#include "fastnnunet/platform/process.h"
#include "fastnnunet/sample/target.h"

namespace fastnnunet::engine {

// The standard library counts references in memory of its own, which it would otherwise ask of the system for every
// batch.
template <typename T>
class BatchRing::CountAllocator {
 public:
  using value_type = T;
  explicit CountAllocator(std::shared_ptr<BatchRing> ring) : ring_(std::move(ring)) {}
  template <typename Other>
  CountAllocator(const CountAllocator<Other>& other) : ring_(other.ring_) {}

  T* allocate(std::size_t count) { return static_cast<T*>(ring_->take_count(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t) noexcept { ring_->give_count(memory); }
  template <typename Other>
  bool operator==(const CountAllocator<Other>& other) const {
    return ring_ == other.ring_;
  }

 private:
  template <typename Other>
  friend class CountAllocator;
  std::shared_ptr<BatchRing> ring_;
};

std::shared_ptr<BatchRing> BatchRing::make(const Layout& layout, std::int64_t batch_size, std::size_t limit,
                                           std::shared_ptr<MemoryProvider> provider) {
  return std::shared_ptr<BatchRing>(new BatchRing(layout, batch_size, limit, std::move(provider)));
}

BatchRing::BatchRing(const Layout& layout, std::int64_t batch_size, std::size_t limit,
                     std::shared_ptr<MemoryProvider> provider)
    : provider_(std::move(provider)),
      limit_(limit),
      process_(platform::process_id()),
      samples_(static_cast<std::size_t>(batch_size)) {
  data_bytes_ = samples_ * static_cast<std::size_t>(layout.image_channels * voxels(layout.image_shape)) * sizeof(float);
  batch_bytes_ = provider_->taken(data_bytes_);
  regression_bytes_ =
      samples_ * static_cast<std::size_t>(layout.regression_channels * voxels(layout.regression_shape)) * sizeof(float);
  if (regression_bytes_ > 0) batch_bytes_ += provider_->taken(regression_bytes_);
  for (const auto& target : layout.targets) {
    target_bytes_.push_back(samples_ * sample::Target{target.type, nullptr, target.channels, target.shape}.bytes());
    batch_bytes_ += provider_->taken(target_bytes_.back());
  }
}

BatchRing::~BatchRing() {
  for (const auto& memory : free_) release(*memory);
  for (void* count : free_counts_) ::operator delete(count);
}

void BatchRing::fill(BatchMemory& memory) {
  memory.cases.assign(samples_, 0);
  if (memory.data != nullptr) return;
  try {
    memory.targets.reserve(target_bytes_.size());
    memory.data = static_cast<float*>(provider_->allocate(data_bytes_));
    if (regression_bytes_ > 0) memory.regression = static_cast<float*>(provider_->allocate(regression_bytes_));
    for (const std::size_t bytes : target_bytes_) memory.targets.push_back(provider_->allocate(bytes));
  } catch (...) {
    release(memory);
    throw;
  }
}

void BatchRing::release(BatchMemory& memory) noexcept {
  if (memory.data != nullptr) provider_->release(memory.data, data_bytes_);
  for (std::size_t i = 0; i < memory.targets.size(); ++i) provider_->release(memory.targets[i], target_bytes_[i]);
  if (memory.regression != nullptr) provider_->release(memory.regression, regression_bytes_);
  memory.data = memory.regression = nullptr;
  memory.targets.clear();
}

std::shared_ptr<BatchMemory> BatchRing::acquire() {
  std::unique_ptr<BatchMemory> memory;
  {
    const base::MutexLock lock(mutex_);
    if ((in_use_ + 1) * batch_bytes_ > limit_) return nullptr;
    // So that giving back needs no memory.
    free_.reserve(free_.size() + in_use_ + 1);
    free_counts_.reserve(free_.size() + in_use_ + 1);
    if (!free_.empty()) {
      memory = std::move(free_.back());
      free_.pop_back();
    }
    ++in_use_;
  }
  try {
    if (memory == nullptr) memory = std::make_unique<BatchMemory>();
    fill(*memory);
  } catch (...) {
    const base::MutexLock lock(mutex_);
    --in_use_;
    throw;
  }
  std::shared_ptr<BatchRing> ring = shared_from_this();
  return std::shared_ptr<BatchMemory>(
      memory.release(), [ring](BatchMemory* last) { ring->give_back(last); }, CountAllocator<BatchMemory>(ring));
}

void* BatchRing::take_count(std::size_t bytes) {
  {
    const base::MutexLock lock(mutex_);
    // All of them are of one size, for they belong to references of one type.
    if (!free_counts_.empty()) {
      void* const count = free_counts_.back();
      free_counts_.pop_back();
      return count;
    }
  }
  return ::operator new(bytes);
}

void BatchRing::give_count(void* count) noexcept {
  if (platform::process_id() != process_) return;  // as in give_back()
  {
    const base::MutexLock lock(mutex_);
    if (free_counts_.size() < free_counts_.capacity()) {
      free_counts_.push_back(count);
      return;
    }
  }
  ::operator delete(count);
}

void BatchRing::give_back(BatchMemory* memory) noexcept {
  std::unique_ptr<BatchMemory> owned(memory);
  if (platform::process_id() != process_) {
    // After a fork the lock may be held by a thread that does not exist here, and the memory is a copy: let it be.
    (void)owned.release();
    return;
  }
  {
    const base::MutexLock lock(mutex_);
    --in_use_;
    if (!closed_ && provider_->rewritable() && free_.size() < free_.capacity()) {
      free_.push_back(std::move(owned));
      return;
    }
  }
  release(*owned);
  // Its room for lists is used again.
  const base::MutexLock lock(mutex_);
  if (!closed_ && free_.size() < free_.capacity()) free_.push_back(std::move(owned));
}

void BatchRing::close() {
  std::vector<std::unique_ptr<BatchMemory>> unused;
  {
    const base::MutexLock lock(mutex_);
    closed_ = true;
    unused.swap(free_);
  }
  for (const auto& memory : unused) release(*memory);
}

std::size_t BatchRing::in_use() const {
  const base::MutexLock lock(mutex_);
  return in_use_;
}

}  // namespace fastnnunet::engine
