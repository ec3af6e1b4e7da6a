// Volumes that stay decompressed, shared by the threads of a loader, under a budget. They change when something is read
// and how, never what is read.
//
// Cases are drawn at random, so every case is as likely to be wanted as any other, and nothing is gained by forgetting
// one for another: as many as fit get a place when they are first wanted and keep it. A block is decompressed into its
// place when it is first touched. So a data set that fits is decompressed once, and since a whole volume is contiguous,
// transforms read it where it lies.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fastnnunet/base/box.h"
#include "fastnnunet/base/mutex.h"
#include "fastnnunet/platform/pages.h"
#include "fastnnunet/storage/volume.h"

namespace fastnnunet::storage {

class VolumeCache;

// The decompressed voxels of one file as T, (C, X, Y, Z), C-contiguous, those blocks of them that were wanted so far.
template <typename T>
class CachedVolume {
 public:
  CachedVolume(const CachedVolume&) = delete;
  CachedVolume& operator=(const CachedVolume&) = delete;

  // Whether there was room for it.
  bool has_place() const { return voxels_ != nullptr; }
  // Whether `box`, which lies in the image, is there, and no file is needed for it. `counted`: among the hits, if so.
  bool has(const Box& box, bool counted = true);
  // Decompresses what is missing of `box`, which lies in the image, all channels of it, or waits until other threads
  // have: chunk by chunk, so that a chunk is read once. False where the file has no place, or where it is a single
  // block that cannot be read: a part of it may be. `volume`: the calling thread's handle of the file; `counted`: among
  // the hits and misses. Throws StorageError.
  bool provide(Volume& volume, const Box& box, bool counted = true);
  // Counts what is read of a file that has no place.
  void missed(const Box& box);
  // Whether no block that `box` touches holds NaN or infinity. What provide() was called for.
  bool finite(const Box& box) const;

  // What is not provided must not be read.
  const T* at(std::int64_t channel, const Index3& voxel) const {
    return voxels_.get() + ((channel * shape_[0] + voxel[0]) * shape_[1] + voxel[1]) * shape_[2] + voxel[2];
  }
  Steps steps() const { return {shape_[0] * shape_[1] * shape_[2], shape_[1] * shape_[2], shape_[2]}; }
  // As Volume::read(); the part of `box` inside the image is provided.
  void copy(std::int64_t channel, const Box& box, T* out, T outside) const;

 private:
  friend class VolumeCache;
  enum class State : std::uint8_t { missing, being_filled, filled, filled_not_finite, unreadable };

  CachedVolume(VolumeCache& cache, const VolumeFacts& facts);

  std::int64_t tile_at(int axis, std::int64_t voxel) const;
  Box tile_box(const Index3& tile) const;
  // visit(state, tile) for every tile that the box touches, chunk by chunk.
  template <typename Visit>
  void for_each_tile(const Box& box, Visit&& visit) const;
  State fill(Volume& volume, const Index3& tile);

  VolumeCache& cache_;
  std::int64_t channels_;
  Index3 shape_;
  Tiling tiling_;
  Index3 in_chunk_{};  // tiles
  Index3 tiles_{};
  struct GivePages {
    std::size_t bytes = 0;
    void operator()(T* pages) const { platform::give_pages(pages, bytes); }
  };
  std::unique_ptr<T, GivePages> voxels_;  // null where there was no room
  std::unique_ptr<std::atomic<State>[]> states_;
};

class VolumeCache {
 public:
  // Bytes; 0 keeps nothing.
  explicit VolumeCache(std::size_t budget) : budget_(budget) {}

  // The place of file number `file`, whose voxels are wanted as T. Null where they are not compressed, or where it has
  // another shape than it had. It stays where it is for as long as the cache exists.
  template <typename T>
  CachedVolume<T>* find(std::uint32_t file, const VolumeFacts& facts);
  template <typename T>
  CachedVolume<T>* find(std::uint32_t file, const Volume& volume) {
    return find<T>(file, volume.facts());
  }

  // Of the blocks that are there.
  std::size_t memory() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  std::uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

 private:
  template <typename T>
  friend class CachedVolume;
  template <typename T>
  using Volumes = std::unordered_map<std::uint32_t, std::unique_ptr<CachedVolume<T>>>;
  template <typename T>
  Volumes<T>& volumes() FASTNNUNET_REQUIRES(mutex_);
  // Memory for so many bytes from now on.
  bool take(std::uint64_t bytes) FASTNNUNET_REQUIRES(mutex_);

  std::size_t budget_;
  base::Mutex mutex_;
  std::uint64_t taken_ FASTNNUNET_GUARDED_BY(mutex_) = 0;
  Volumes<float> images_ FASTNNUNET_GUARDED_BY(mutex_);
  Volumes<std::int16_t> labels_ FASTNNUNET_GUARDED_BY(mutex_);
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::uint64_t> hits_{0};
  std::atomic<std::uint64_t> misses_{0};
};

}  // namespace fastnnunet::storage
