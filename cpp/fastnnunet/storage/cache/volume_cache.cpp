#include "fastnnunet/storage/cache/volume_cache.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <type_traits>

#include "fastnnunet/base/boxes.h"
#include "fastnnunet/base/error.h"

namespace fastnnunet::storage {

template <typename T>
CachedVolume<T>::CachedVolume(VolumeCache& cache, const VolumeFacts& facts)
    : cache_(cache), channels_(facts.channels), shape_(facts.shape), tiling_(*facts.tiling) {
  for (int axis = 0; axis < 3; ++axis) {
    in_chunk_[axis] = (tiling_.chunk[axis] - 1) / tiling_.block[axis] + 1;
    tiles_[axis] = tile_at(axis, shape_[axis] - 1) + 1;
  }
  const std::int64_t tiles = voxels(tiles_);
  const std::int64_t count = channels_ * voxels(shape_);
  const auto bytes = static_cast<std::uint64_t>(count) * sizeof(T) + static_cast<std::uint64_t>(tiles);
  if (!cache_.take(bytes)) return;
  try {
    states_ = std::make_unique<std::atomic<State>[]>(static_cast<std::size_t>(tiles));
    // Pages that no block needs take no memory.
    const std::size_t size = static_cast<std::size_t>(count) * sizeof(T);
    voxels_ = {static_cast<T*>(platform::take_pages(size)), GivePages{size}};
  } catch (const std::bad_alloc&) {
    // The system has less than the budget; it is read as without a cache.
  }
}

template <typename T>
std::int64_t CachedVolume<T>::tile_at(int axis, std::int64_t voxel) const {
  const std::int64_t chunk = voxel / tiling_.chunk[axis];
  return chunk * in_chunk_[axis] + (voxel - chunk * tiling_.chunk[axis]) / tiling_.block[axis];
}

template <typename T>
Box CachedVolume<T>::tile_box(const Index3& tile) const {
  Box box;
  for (int axis = 0; axis < 3; ++axis) {
    const std::int64_t chunk = tile[axis] / in_chunk_[axis];
    const std::int64_t end = std::min((chunk + 1) * tiling_.chunk[axis], shape_[axis]);
    box.lower[axis] = chunk * tiling_.chunk[axis] + (tile[axis] - chunk * in_chunk_[axis]) * tiling_.block[axis];
    box.upper[axis] = std::min(box.lower[axis] + tiling_.block[axis], end);
  }
  return box;
}

template <typename T>
template <typename Visit>
void CachedVolume<T>::for_each_tile(const Box& box, Visit&& visit) const {
  Index3 first, last, chunk, tile;
  for (int axis = 0; axis < 3; ++axis) {
    first[axis] = tile_at(axis, box.lower[axis]);
    last[axis] = tile_at(axis, box.upper[axis] - 1);
  }
  const auto begin = [&](int axis) { return std::max(first[axis], chunk[axis] * in_chunk_[axis]); };
  const auto end = [&](int axis) { return std::min(last[axis], (chunk[axis] + 1) * in_chunk_[axis] - 1); };
  for (chunk[0] = first[0] / in_chunk_[0]; chunk[0] <= last[0] / in_chunk_[0]; ++chunk[0])
    for (chunk[1] = first[1] / in_chunk_[1]; chunk[1] <= last[1] / in_chunk_[1]; ++chunk[1])
      for (chunk[2] = first[2] / in_chunk_[2]; chunk[2] <= last[2] / in_chunk_[2]; ++chunk[2])
        for (tile[0] = begin(0); tile[0] <= end(0); ++tile[0])
          for (tile[1] = begin(1); tile[1] <= end(1); ++tile[1])
            for (tile[2] = begin(2); tile[2] <= end(2); ++tile[2])
              visit(states_[static_cast<std::size_t>((tile[0] * tiles_[1] + tile[1]) * tiles_[2] + tile[2])], tile);
}

template <typename T>
void CachedVolume<T>::missed(const Box& box) {
  if (box.empty()) return;
  std::uint64_t tiles = 1;
  for (int axis = 0; axis < 3; ++axis)
    tiles *= static_cast<std::uint64_t>(tile_at(axis, box.upper[axis] - 1) - tile_at(axis, box.lower[axis]) + 1);
  cache_.misses_.fetch_add(tiles, std::memory_order_relaxed);
}

template <typename T>
bool CachedVolume<T>::has(const Box& box, bool counted) {
  if (voxels_ == nullptr) return false;
  if (box.empty()) return true;
  std::uint64_t tiles = 0;
  bool all = true;
  for_each_tile(box, [&](const std::atomic<State>& state, const Index3&) {
    const State now = state.load(std::memory_order_acquire);
    all = all && (now == State::filled || now == State::filled_not_finite);
    ++tiles;
  });
  if (all && counted) cache_.hits_.fetch_add(tiles, std::memory_order_relaxed);
  return all;
}

template <typename T>
bool CachedVolume<T>::provide(Volume& volume, const Box& box, bool counted) {
  if (voxels_ == nullptr) return false;
  if (box.empty()) return true;
  std::uint64_t hits = 0, misses = 0;
  bool readable = true;
  for_each_tile(box, [&](std::atomic<State>& state, const Index3& tile) {
    State now = state.load(std::memory_order_acquire);
    bool filled_here = false;
    while (now == State::missing || now == State::being_filled) {
      if (now == State::being_filled) {
        // Its thread waits for nobody, and says so too where it fails.
        state.wait(now, std::memory_order_acquire);
        now = state.load(std::memory_order_acquire);
      } else if (state.compare_exchange_strong(now, State::being_filled, std::memory_order_acquire)) {
        const auto settle = [&](State settled) {
          state.store(settled, std::memory_order_release);
          state.notify_all();
          now = settled;
        };
        try {
          settle(fill(volume, tile));
          filled_here = true;
        } catch (...) {
          settle(State::missing);
          throw;
        }
      }
    }
    readable = readable && now != State::unreadable;
    ++(filled_here ? misses : hits);
  });
  if (!readable) return false;
  cache_.misses_.fetch_add(misses, std::memory_order_relaxed);
  if (counted) cache_.hits_.fetch_add(hits, std::memory_order_relaxed);
  return true;
}

template <typename T>
typename CachedVolume<T>::State CachedVolume<T>::fill(Volume& volume, const Index3& tile) {
  const Box box = tile_box(tile);
  const Index3 size = box.shape();
  const Steps steps = this->steps();
  T* const corner = voxels_.get() + (at(0, box.lower) - voxels_.get());
  try {
    volume.read_channels(box, corner, steps);
  } catch (const StorageError& error) {
    // What is read without a cache must not depend on it: a box may end before the damage.
    const bool damaged = error.passing() == Passing::no && dynamic_cast<const ResourceError*>(&error) == nullptr;
    if (size == shape_ && damaged) return State::unreadable;
    throw;
  }
  bool finite = true;
  if constexpr (std::is_same_v<T, float>)
    for (std::int64_t c = 0; c < channels_; ++c)
      for (std::int64_t x = 0; x < size[0]; ++x)
        for (std::int64_t y = 0; y < size[1]; ++y) {
          const float* row = corner + c * steps.channel + x * steps.plane + y * steps.row;
          finite = finite && std::all_of(row, row + size[2], [](float value) { return std::isfinite(value); });
        }
  const auto bytes = static_cast<std::size_t>(channels_ * voxels(size)) * sizeof(T);
  cache_.bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return finite ? State::filled : State::filled_not_finite;
}

template <typename T>
bool CachedVolume<T>::finite(const Box& box) const {
  bool finite = true;
  for_each_tile(box, [&](const std::atomic<State>& state, const Index3&) {
    finite = finite && state.load(std::memory_order_relaxed) != State::filled_not_finite;
  });
  return finite;
}

template <typename T>
void CachedVolume<T>::copy(std::int64_t channel, const Box& box, T* out, T outside) const {
  const Box inner = box.intersect(Box::of_shape(shape_));
  if (!(inner == box)) base::fill_outside(box, inner, out, outside);
  if (inner.empty()) return;
  const Index3 size = box.shape(), rows = inner.shape();
  T* to = out + base::offset_in(box, inner.lower);
  const T* from = at(channel, inner.lower);
  for (std::int64_t x = 0; x < rows[0]; ++x)
    for (std::int64_t y = 0; y < rows[1]; ++y) {
      const T* row = from + x * steps().plane + y * steps().row;
      std::copy(row, row + rows[2], to + (x * size[1] + y) * size[2]);
    }
}

template <typename T>
VolumeCache::Volumes<T>& VolumeCache::volumes() {
  if constexpr (std::is_same_v<T, float>) {
    return images_;
  } else {
    return labels_;
  }
}

bool VolumeCache::take(std::uint64_t bytes) {
  if (bytes > budget_ - taken_) return false;
  taken_ += bytes;
  return true;
}

template <typename T>
CachedVolume<T>* VolumeCache::find(std::uint32_t file, const VolumeFacts& facts) {
  if (!facts.tiling) return nullptr;
  const base::MutexLock lock(mutex_);
  std::unique_ptr<CachedVolume<T>>& cached = volumes<T>()[file];
  if (cached == nullptr) cached.reset(new CachedVolume<T>(*this, facts));
  const bool same =
      cached->shape_ == facts.shape && cached->channels_ == facts.channels && cached->tiling_ == *facts.tiling;
  return same ? cached.get() : nullptr;
}

template class CachedVolume<float>;
template class CachedVolume<std::int16_t>;
template CachedVolume<float>* VolumeCache::find(std::uint32_t, const VolumeFacts&);
template CachedVolume<std::int16_t>* VolumeCache::find(std::uint32_t, const VolumeFacts&);

}  // namespace fastnnunet::storage
